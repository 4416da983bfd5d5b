"""`Scores`: one model's log-probs, logits and entropies on a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from opdkit.heads import Head


@dataclass(frozen=True)
class Scores:
    """A model's scores of a rollout, for student and teacher alike.

    A field that was not requested is None. Masked positions hold zeros.

    Attributes:
        sampled_log_prob: f32[B, T], log-prob of the sampled token over the whole vocabulary.
        support_ids: i64[B, T, K], ids of the support.
        support_logits: f32[B, T, K], their unnormalised logits.
        support_mask: bool[B, T, K], False on filler ids (a joined support is ragged). None if there are none.
        logsumexp: f32[B, T], of all logits.
        entropy: f32[B, T], in nats.
        top_ids: i64[B, T, k], the model's own top ids in descending order, for diagnostics.
        hidden: f[B, T, D], the hidden state before lm_head, from which `head` gives the full vocabulary.
        span_length: i64[B, T], from a teacher that scores spans: the number of student tokens in the span at its first
            token, 0 elsewhere.
        span_log_prob: f32[B, T], at a span's first token the log-prob of the teacher's tokens after its first.
        paired_ids: i64[S, 2], student and teacher ids of the entries in both vocabularies, None for a shared one.
        scored: bool[B, T], the requested tokens that have scores; the others leave the loss. None if all have.
        head: the lm_head.
        temperature: divides all logits here, and must be applied to those computed from hidden and head.
    """

    sampled_log_prob: Tensor | None = None
    support_ids: Tensor | None = None
    support_logits: Tensor | None = None
    support_mask: Tensor | None = None
    logsumexp: Tensor | None = None
    entropy: Tensor | None = None
    top_ids: Tensor | None = None
    hidden: Tensor | None = None
    span_length: Tensor | None = None
    span_log_prob: Tensor | None = None
    paired_ids: Tensor | None = None
    scored: Tensor | None = None
    head: Head | None = None
    temperature: float = 1.0

    @classmethod
    def tensors(cls) -> tuple[str, ...]:
        """Names of the fields that are tensors [B, T, ...]."""
        return tuple(name for name in cls.__dataclass_fields__ if name not in ("paired_ids", "head", "temperature"))
