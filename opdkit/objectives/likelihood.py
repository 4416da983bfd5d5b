"""The language-modelling loss, for responses from data or from the teacher."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.data.loss import ModelNeeds, Needs, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.functional.masked import only


@dataclass(frozen=True)
class NegativeLogLikelihood:
    """loss_t = -log pi(y_t | x, y_<t), in nats per token. Needs no teacher.

    Source: the language-modelling loss that MiniLLM adds (Gu et al. 2023, arXiv 2306.08543); supervised fine-tuning.
    """

    @property
    def needs(self) -> Needs:
        """The student's log-prob of each token."""
        return Needs(student=ModelNeeds(sampled=True), teacher=None)

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T]."""
        assert student.sampled_log_prob is not None
        return TokenLoss(-only(student.sampled_log_prob, batch.loss_mask))
