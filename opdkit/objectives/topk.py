"""Top-K local support matching, the method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from opdkit.errors import UserError
from opdkit.functional.divergences import reverse_kl
from opdkit.functional.masked import only
from opdkit.types import Needs, Scores, SupportSource, TokenBatch, TokenLoss


@dataclass(frozen=True)
class TopK:
    """The reverse KL at each prefix, inside a support S of K ids: sum_S pi^ log(pi^ / q^).

    pi^ and q^ are the softmax of the student's and the teacher's logits inside S, S = the `k` best ids of
    the model named by `support_from` (teacher, student as it wrote the rollout, or the union of the two).
    Teacher, prefix and S are constants; no importance ratio. The student's mass on S is left free.
    At K = V it is the full KL(pi || q), the expectation of the sampled-token gradient.

    Errors: UserError where k < 2 (one id renormalised has probability 1, and the loss is 0 whatever the student).
    Source: arXiv 2603.25562, Section 4 and App. G.3 (V1).
    """

    k: int = 32
    support_from: SupportSource = "teacher"

    def __post_init__(self) -> None:
        if self.k < 2:
            raise UserError(f"objective.k={self.k}: must be at least 2 (with one id the renormalised loss is always 0)")
        if self.support_from not in get_args(SupportSource):
            allowed = ", ".join(get_args(SupportSource))
            raise UserError(f"objective.support_from={self.support_from}: must be one of {allowed}")

    @property
    def needs(self) -> Needs:
        """The logits of K ids from both models, and no normaliser."""
        return Needs(support=self.support_from, k=self.k)

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T] from support_logits f32[B, T, K] of the same ids."""
        assert student.support_logits is not None
        assert teacher.support_logits is not None
        ours = only(student.support_logits, batch.mask)
        theirs = only(teacher.support_logits, batch.mask).detach()
        return TokenLoss(only(reverse_kl(ours, theirs, teacher.support_mask), batch.mask))
