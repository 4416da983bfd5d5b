"""FirstOccurrence, EntropySelected and NoMask."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opdkit.data.rollout import Prompts, Rollout
from opdkit.errors import UserError
from opdkit.masking import EntropySelected, FirstOccurrence, NoMask, SpecialSpans, Vocabularies, needs_entropy


@dataclass(frozen=True)
class Letters:
    """One token a character; its id is the code point."""

    all_special_ids: tuple[int, ...] = ()

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        assert not add_special_tokens
        return [ord(letter) for letter in text]

    def decode(self, token_ids: list[int]) -> str:
        return "".join(map(chr, token_ids))


LETTERS = Vocabularies(Letters(), Letters())


def rollout(rows: list[str], entropy: Tensor | None = None, width: int | None = None) -> Rollout:
    """Rows of letters, padded on the right with `<`, which must never be taken for a token."""
    width = width or max(map(len, rows))
    tokens = torch.full((len(rows), width), ord("<"))
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(Letters().encode(row, add_special_tokens=False), dtype=torch.long)
        mask[index, : len(row)] = True
    nothing = torch.zeros((len(rows), 1))
    prompts = Prompts(nothing.long(), nothing.bool(), ())
    zeros = torch.zeros(mask.shape)
    return Rollout(prompts, tokens, mask, zeros, zeros if entropy is None else entropy, ("stop",) * len(rows))


def kept(rule: object, rows: list[str]) -> list[str]:
    """Each row with a dot for every token that does not count."""
    loss_mask = rule(rollout(rows), LETTERS)  # type: ignore[operator]
    return ["".join(letter if loss_mask[i, j] else "." for j, letter in enumerate(row)) for i, row in enumerate(rows)]


def test_no_mask_is_the_rollouts_own() -> None:
    one = rollout(["abc", "a"])
    assert torch.equal(NoMask()(one, LETTERS), one.sampled_mask)


def test_only_the_first_occurrence_of_each_id_is_left_out() -> None:
    assert kept(FirstOccurrence(("<", "ab")), ["x<y<z", "abba", "xyz"]) == ["x.y<z", "..ba", "xyz"]


def test_the_known_flaw_of_first_occurrence() -> None:
    assert kept(FirstOccurrence(("<",)), ["1<2 so <think>"]) == ["1.2 so <think>"]


def test_a_token_that_is_not_the_students_is_not_its_first() -> None:
    one = rollout(["<a<b<"])
    holed = replace(one, sampled_mask=torch.tensor([[False, True, True, True, True]]))
    assert FirstOccurrence(("<",))(holed, LETTERS)[0].tolist() == [False, True, False, True, True]


def test_the_denominator_changes() -> None:
    one = rollout(["x<y", "xyz"])
    assert FirstOccurrence()(one, LETTERS).sum() == one.sampled_mask.sum() - 1


@given(st.lists(st.text("<ab ", max_size=8), min_size=1, max_size=4), st.lists(st.text("<ab", min_size=1), min_size=1))
@settings(deadline=None, max_examples=60)
def test_first_occurrence_against_a_loop(rows: list[str], strings: list[str]) -> None:
    one = rollout(rows, width=9)
    expected = one.sampled_mask.clone()
    for index, row in enumerate(rows):
        for letter in set("".join(strings)):
            if letter in row:
                expected[index, row.index(letter)] = False
    assert torch.equal(FirstOccurrence(tuple(strings))(one, LETTERS), expected)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), max_size=7), min_size=1, max_size=4),
    st.floats(0.01, 1.0),
)
@settings(deadline=None, max_examples=60)
def test_entropy_keeps_the_highest_of_each_response(rows: list[list[float]], fraction: float) -> None:
    entropy = torch.full((len(rows), 8), 9.0)  # padding must not win
    for index, row in enumerate(rows):
        entropy[index, : len(row)] = torch.tensor(row)
    one = rollout(["x" * len(row) for row in rows], entropy, width=8)
    loss_mask = EntropySelected(fraction)(one, LETTERS)
    for index, row in enumerate(rows):
        order = sorted(range(len(row)), key=lambda j: (-row[j], j))
        expected = set(order[: math.ceil(fraction * len(row) - 1e-9)])
        assert set(loss_mask[index].nonzero()[:, 0].tolist()) == expected


@pytest.mark.parametrize(("fraction", "tokens"), [(0.7, 10), (0.28, 25)])
def test_a_product_that_exceeds_seven_by_rounding_alone_asks_for_seven(fraction: float, tokens: int) -> None:
    one = rollout(["x" * tokens])
    assert EntropySelected(fraction)(one, LETTERS)[0].tolist() == [True] * 7 + [False] * (tokens - 7)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: EntropySelected(0.0), "fraction=0.0"),
        (lambda: EntropySelected(1.5), "fraction=1.5"),
        (lambda: FirstOccurrence("<"), r"strings=\['<'\]"),
        (lambda: FirstOccurrence(()), r"strings=\[\]"),
        (lambda: SpecialSpans(("<think>", "")), "strings="),
        (lambda: SpecialSpans((3,)), "strings="),  # type: ignore[arg-type]
    ],
)
def test_values_out_of_range_are_refused(build: object, named: str) -> None:
    with pytest.raises(UserError, match=named):
        build()  # type: ignore[operator]


def test_a_rule_that_does_not_say_is_given_entropies() -> None:
    class Mine:
        def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
            return rollout.sampled_mask

    assert [needs_entropy(rule) for rule in (Mine(), EntropySelected(), NoMask(), FirstOccurrence())] == [
        True, True, False, False,
    ]  # fmt: skip
