"""SpecialSpans: tags that the two models write with different tokens, found in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch

from opdkit.data.rollout import Prompts, Rollout
from opdkit.masking import SpecialSpans, Vocabularies
from tests.tiny import tiny_tokenizer

VOCABULARY = [
    "<think>",
    "<th",
    "ink>",
    "think",
    " <",
    " think",
    "ing",
    "<",
    ">",
    " ",
    "/",
    "i",
    "n",
    "k",
    "a",
    "b",
    "<|im_end|>",
]


@dataclass(frozen=True)
class Longest:
    """Splits text into the longest words of VOCABULARY that it may use; ids are places in VOCABULARY."""

    unused: tuple[str, ...] = ()
    special: tuple[str, ...] = ()

    @property
    def all_special_ids(self) -> list[int]:
        return [VOCABULARY.index(word) for word in self.special]

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = []
        while text:
            word = max((w for w in VOCABULARY if w not in self.unused and text.startswith(w)), key=len)
            ids.append(VOCABULARY.index(word))
            text = text[len(word) :]
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        return "".join(VOCABULARY[i] for i in token_ids)


PLAIN = Longest(unused=("<think>", "<th", "ink>"))
JOINED = Longest(unused=("<think>",))
SPECIAL = Longest(special=("<think>", "<|im_end|>"))


def marked(words: list[str], student: Longest, teacher: Longest, strings: tuple[str, ...] = ("<think>",)) -> str:
    """One letter a token: C counts, . does not."""
    tokens = torch.tensor([[VOCABULARY.index(word) for word in words]])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    zeros = torch.zeros(tokens.shape)
    prompts = Prompts(tokens[:, :1], mask[:, :1], ())
    rollout = Rollout(prompts, tokens, mask, zeros, zeros, ("stop",))
    loss_mask = SpecialSpans(strings)(rollout, Vocabularies(student, teacher))
    return "".join("C" if one else "." for one in loss_mask[0].tolist())


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        (PLAIN, PLAIN, "CCCCC"),
        (PLAIN, JOINED, "C...C"),  # the paper's example: `<`, `think`, `>` against `<th`, `ink>`
        (JOINED, JOINED, "C...C"),  # alike, but the student did not sample what either would write
        (PLAIN, SPECIAL, "C...C"),
    ],
)
def test_a_tag_in_three_tokens(student: Longest, teacher: Longest, expected: str) -> None:
    assert marked(["a", "<", "think", ">", "b"], student, teacher) == expected


def test_a_tag_as_one_special_token_that_both_have() -> None:
    assert marked(["a", "<think>", "b"], SPECIAL, SPECIAL) == "CCC"


def test_a_tag_that_is_special_for_one_alone() -> None:
    ordinary = Longest()
    assert marked(["a", "<think>", "b"], SPECIAL, ordinary) == "C.C"
    assert marked(["a", "<think>", "b"], ordinary, SPECIAL) == "C.C"


def test_every_occurrence_is_left_out_and_inequalities_are_not() -> None:
    words = ["a", "<", "b", "<", "think", ">", "a", " <", " ", "<", "think", ">"]
    assert marked(words, PLAIN, JOINED) == "CCC...CCC..."


def test_a_token_that_holds_part_of_a_tag_belongs_to_it() -> None:
    assert marked(["a", " <", "think", ">", "b"], PLAIN, JOINED) == "C...C"


def test_part_of_a_tag_is_not_a_tag() -> None:
    assert marked(["<", "think", "ing", ">"], PLAIN, JOINED) == "CCCC"


def test_padding_is_never_looked_at() -> None:
    tokens = torch.tensor([[VOCABULARY.index(word) for word in ["a", "<", "think", ">"]]])
    mask = torch.tensor([[True, True, True, False]])
    zeros = torch.zeros(tokens.shape)
    rollout = Rollout(Prompts(tokens, mask, ()), tokens, mask, zeros, zeros, ("length",))
    loss_mask = SpecialSpans(("<think>",))(rollout, Vocabularies(PLAIN, JOINED))
    assert torch.equal(loss_mask, mask)


def test_a_real_tokenizer_and_characters_of_several_bytes() -> None:
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode("é<think>é<eos>", add_special_tokens=False)
    tokens = torch.tensor([ids])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    zeros = torch.zeros(tokens.shape)
    rollout = Rollout(Prompts(tokens, mask, ()), tokens, mask, zeros, zeros, ("stop",))
    rule = SpecialSpans(("<think>", "<eos>"))
    assert torch.equal(rule(rollout, Vocabularies(tokenizer, tokenizer)), mask)
    other = tiny_tokenizer()
    other.add_special_tokens({"additional_special_tokens": ["<think>"]})
    loss_mask = rule(rollout, Vocabularies(tokenizer, other))
    assert loss_mask[0].tolist() == [True] * 2 + [False] * 7 + [True] * 3
