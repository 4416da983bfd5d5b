"""The masking rule of the paper's code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.masking.base import Vocabularies, check_strings


@dataclass(frozen=True)
class FirstOccurrence:
    """Masks the first occurrence, in each response, of every id in the encoding of one of `strings`.

    The strings are encoded with the student's tokenizer; later occurrences of the same id are not masked. As in
    the code of arXiv 2603.25562, for comparison with it. Known flaw: it matches ids rather than tags, so the first
    `<` of an inequality is masked like that of `<think>`, and the tag that follows is not. `SpecialSpans` fixes this.
    """

    needs_entropy: ClassVar[bool] = False
    strings: Sequence[str] = ("<", "think", "<|im_end|>")

    def __post_init__(self) -> None:
        check_strings(self.strings)

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        encode = vocabularies.student.encode
        registered = {token for text in self.strings for token in encode(text, add_special_tokens=False)}
        loss_mask = rollout.sampled_mask.clone()
        for token in registered:
            found = (rollout.tokens == token) & rollout.sampled_mask
            loss_mask &= ~(found & (found.cumsum(dim=1) == 1))
        return loss_mask
