"""Prompt and response side by side."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.data.problem import Problem
from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.rows import rollout_rows
from opdkit.functional.layout import align_left

PAD = 99


def make(lengths: list[tuple[int, int]], prompt_pad: int = 0, response_pad: int = 0) -> Rollout:
    """A rollout of (prompt, response) lengths; token ids tell their row and place."""
    count = len(lengths)
    width = max(p for p, _ in lengths) + prompt_pad
    length = max(r for _, r in lengths) + response_pad
    ids, mask = torch.full((count, width), PAD), torch.zeros(count, width, dtype=torch.bool)
    tokens, token_mask = torch.full((count, length), PAD), torch.zeros(count, length, dtype=torch.bool)
    for row, (p, r) in enumerate(lengths):
        ids[row, width - p :] = torch.arange(p) + 1000 * row
        mask[row, width - p :] = True
        tokens[row, :r] = torch.arange(r) + 1000 * row + 500
        token_mask[row, :r] = True
    zeros = torch.zeros(count, length)
    problems = tuple(Problem(str(i), (), "") for i in range(count))
    return Rollout(Prompts(ids, mask, problems), tokens, token_mask, zeros, zeros, ("stop",) * count)


ragged = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=5)


@given(ragged, st.integers(0, 3), st.integers(0, 3))
def test_each_response_token_is_predicted_by_the_position_before_it(lengths, prompt_pad, response_pad) -> None:
    rollout = make(lengths, prompt_pad, response_pad)
    layout = align_left(rollout, PAD)
    assert layout.ids.shape[1] == max(p + r for p, r in lengths)
    for row, (p, r) in enumerate(lengths):
        whole = [*(1000 * row + i for i in range(p)), *(1000 * row + 500 + i for i in range(r))]
        assert layout.ids[row, : p + r].tolist() == whole
        assert bool((layout.ids[row, p + r :] == PAD).all())
        for step in range(r):
            assert int(layout.predictor[row, step]) == p + step - 1


@given(ragged, st.integers(0, 3))
def test_tokens_that_were_given_are_read_and_stand_where_they_stood(lengths, response_pad) -> None:
    plain = make(lengths, 1, response_pad)
    middle = plain.sampled_mask & (torch.arange(plain.sampled_mask.shape[1]) % 2 == 0)
    split = replace(plain, sampled_mask=plain.sampled_mask & ~middle, environment_mask=middle)
    one, two = align_left(plain, PAD), align_left(split, PAD)
    assert torch.equal(one.ids, two.ids)
    assert torch.equal(one.predictor, two.predictor)
    part = rollout_rows(split, 0, 1)
    assert part.environment_mask is not None
    assert part.attention_mask.sum() == lengths[0][1] == part.tokens.shape[1]


@given(ragged, st.data())
def test_a_cut_keeps_the_rows_and_drops_the_padding(lengths, data) -> None:
    start = data.draw(st.integers(0, len(lengths) - 1))
    stop = data.draw(st.integers(start + 1, len(lengths)))
    part = rollout_rows(make(lengths, 2, 2), start, stop)
    chosen = lengths[start:stop]
    assert part.prompts.ids.shape[1] == max(p for p, _ in chosen)
    assert part.tokens.shape[1] == max(r for _, r in chosen)
    assert part.sampled_mask.sum(dim=1).tolist() == [r for _, r in chosen]
    assert [p.identifier for p in part.prompts.problems] == [str(i) for i in range(start, stop)]
