"""Rows one behind another are scored as rows with padding, and a model that can't do so is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.layout import align_left, share_lines
from opdkit.generation import Completion, Turn, pack
from opdkit.models import LanguageModel, Request, Scorer, prove_packing
from tests.tiny import tiny_model, tiny_problems

# Of prompt and response: three lines at the least, one of them with three rows.
UNEVEN = ((3, 20), (2, 3), (9, 8), (5, 1), (1, 6))
IDS = torch.randint(0, 260, (5, 24, 3), generator=torch.Generator().manual_seed(0))
REQUESTS = {
    "sampled": Request(sampled=True),
    "normalised": Request(sampled=True, top_k=4, normaliser=True),
    "given": Request(top_k=2, support_ids=IDS, include_sampled=True),
    "vocabulary": Request(sampled=True, vocabulary=True),
}


def uneven(model: LanguageModel, lengths: Sequence[tuple[int, int]] = UNEVEN) -> Rollout:
    """Random ids of these lengths."""
    drawn = torch.randint(0, 256, (len(lengths), 64), generator=torch.Generator().manual_seed(1)).tolist()
    rows = [
        (Turn(tuple(ids[:p]), Completion(tuple(ids[p : p + n]), torch.zeros(n), torch.zeros(n), "stop")),)
        for ids, (p, n) in zip(drawn, lengths, strict=True)
    ]
    return pack(model, rows, tiny_problems(len(rows)))


def loss_of(scores: Scores, mask: Tensor) -> Tensor:
    """A number that depends on whatever carries a gradient."""
    found = torch.zeros(())
    for values in (scores.sampled_log_prob, scores.logsumexp, scores.support_logits):
        if values is not None and values.requires_grad:
            found = found + values[mask].sin().mean()
    if scores.hidden is not None and scores.head is not None:
        logits = scores.hidden[mask] @ scores.head.weight[:260].T
        found = found + torch.special.entr(logits.softmax(-1)).sum(-1).mean()
    return found


@pytest.mark.parametrize("asked", REQUESTS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_losses_and_gradients_are_those_of_padded_rows(asked: str, attention: str) -> None:
    found: list[tuple[float, Tensor]] = []
    for packed in (False, True):
        model = replace(tiny_model(1), packed=packed)
        model.module.set_attn_implementation(attention)
        rollout = uneven(model)
        mask = rollout.sampled_mask.clone()
        mask[:, 1::3] = False
        request = REQUESTS[asked].rows(0, 5, rollout.tokens.shape[1])
        loss = loss_of(Scorer(model)(rollout, mask, request, 0.8), mask)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.module.parameters() if p.grad is not None])
        found.append((float(loss.detach()), gradient))
    (one, slope), (two, other) = found
    assert two == pytest.approx(one, rel=1e-6)
    assert float((slope - other).norm() / slope.norm()) < 1e-6


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=9), st.booleans())
def test_every_token_stands_in_a_line_with_its_own_position(lengths: list[tuple[int, int]], one_line: bool) -> None:
    model = tiny_model(0)
    rollout = uneven(model, lengths)
    rows, totals = align_left(rollout, 999), [p + n for p, n in lengths]
    layout = share_lines(rows, totals, 999, one_line=one_line)
    assert layout.positions is not None
    count = -(-sum(totals) // max(totals))
    assert len(layout.ids) == (1 if one_line else count)
    assert layout.ids.shape[1] < 2 * max(totals) or one_line
    assert int((layout.ids != 999).sum()) == sum(totals)
    starts = layout.positions == 0
    for row, (p, n) in enumerate(lengths):
        first = int(layout.predictor[row, 0]) - (p - 1)
        place = (int(layout.line[row]), slice(first, first + p + n))
        assert layout.ids[place].tolist() == rows.ids[row, : p + n].tolist()
        assert layout.positions[place].tolist() == list(range(p + n))
        assert layout.predictor[row, :n].tolist() == list(range(first + p - 1, first + p + n - 1))
        behind = first + p + n
        assert behind == layout.ids.shape[1] or bool(starts[place[0], behind])  # another row, or padding as one


def test_a_model_whose_rows_touch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prove_packing(tiny_model(0), "model").packed
    assert prove_packing(tiny_model(0, torch.bfloat16), "model").packed
    model = tiny_model(0)
    forward = type(model.body()).forward

    def forgetful(self: object, position_ids: object = None, **inputs: object) -> object:
        return forward(self, **inputs)

    monkeypatch.setattr(type(model.body()), "forward", forgetful)
    with pytest.raises(UserError, match=r"batch.packing=true: teacher.path='tiny-0', .*LlamaForCausalLM, reads a row"):
        prove_packing(model, "teacher")

    def narrow(self: object, input_ids: Tensor, use_cache: bool) -> object:
        return forward(self, input_ids=input_ids, use_cache=use_cache)

    monkeypatch.setattr(type(model.body()), "forward", narrow)
    with pytest.raises(UserError, match=r"^packing=true: .*can't read rows one behind another: .*position_ids"):
        prove_packing(model, "teacher", "packing")
