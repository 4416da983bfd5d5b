"""Masks special strings that the student and the teacher tokenize differently."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.masking.base import TokenizerLike, Vocabularies, check_strings
from opdkit.masking.pieces import Pieces


@dataclass(frozen=True)
class SpecialSpans:
    """Masks all tokens of a special string that the teacher would have tokenized differently.

    A span is an occurrence of one of `strings` in the response's text, and its tokens are those that overlap it.
    They are masked if the two tokenizers split the string differently, if it is a special token of only one of
    them, or if the sampled tokens are not the teacher's split of the same text (a student may write `<think>` as
    `<`, `think`, `>` although neither tokenizer would). A `<` outside such a string is kept, and so is a string that
    the teacher never uses but splits in the same way.
    """

    needs_entropy: ClassVar[bool] = False
    strings: Sequence[str] = ("<think>", "</think>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")

    def __post_init__(self) -> None:
        check_strings(self.strings)

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        student, teacher = vocabularies.student, vocabularies.teacher
        differing = {text for text in self.strings if not treated_alike(text, vocabularies)}
        pieces = Pieces(student)
        loss_mask = rollout.sampled_mask.clone()
        for row, (tokens, mask) in enumerate(zip(rollout.tokens, rollout.sampled_mask, strict=True)):
            places = mask.nonzero()[:, 0].tolist()
            texts = pieces.of(tokens[mask].tolist())
            for text, span in find_spans(texts, self.strings):
                spelled = texts[span.start : span.stop]
                if text in differing or split("".join(spelled), teacher) != spelled:
                    loss_mask[row, places[span.start : span.stop]] = False
        return loss_mask


def treated_alike(text: str, vocabularies: Vocabularies) -> bool:
    """Whether both tokenizers split `text` identically and agree on whether it is a special token."""
    special: list[bool] = []
    for tokenizer in (vocabularies.student, vocabularies.teacher):
        ids = tokenizer.encode(text, add_special_tokens=False)
        special.append(len(ids) == 1 and ids[0] in tokenizer.all_special_ids)
    return special[0] == special[1] and split(text, vocabularies.student) == split(text, vocabularies.teacher)


def split(text: str, tokenizer: TokenizerLike) -> list[str]:
    """The text of each token in the encoding of `text`."""
    return Pieces(tokenizer).of(tokenizer.encode(text, add_special_tokens=False))


def find_spans(texts: Sequence[str], strings: Iterable[str]) -> Iterator[tuple[str, slice]]:
    """Each occurrence of each string in the joined `texts`, and the slice of `texts` that holds it."""
    joined = "".join(texts)
    owner = [index for index, text in enumerate(texts) for _ in text]
    for string in strings:
        start = joined.find(string)
        while start >= 0:
            yield string, slice(owner[start], owner[start + len(string) - 1] + 1)
            start = joined.find(string, start + 1)
