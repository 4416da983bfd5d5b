"""Defines `Scores`: log-probs, logits and entropies of one model on a rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from opdkit.heads import Head


@dataclass(frozen=True)
class Scores:
    """What a model says of a rollout: one type for student and teacher.

    sampled_log_prob f32[B, T], log-prob of the sampled token over the whole vocabulary;
    support_ids i64[B, T, K] and support_logits f32[B, T, K], logits (not normalised) of those ids;
    support_mask bool[B, T, K], False on filler ids (a joined support is ragged), None where all count;
    logsumexp f32[B, T], of all logits; entropy f32[B, T], in nats;
    top_ids i64[B, T, k], the model's own best ids, best first, for diagnostics;
    hidden f[B, T, D], the state before lm_head, and head, that lm_head: the whole vocabulary, for whoever streams it;
    span_length i64[B, T], of a teacher that speaks of spans: at a span's first token how many of the student's it has,
    0 at the others; span_log_prob f32[B, T], there the log-prob of the teacher's tokens behind its first one;
    paired_ids i64[S, 2], the student's and the teacher's id of what both vocabularies have, None for one vocabulary;
    scored bool[B, T], the tokens asked for that have scores, None where all have: the others do not count;
    temperature: what every logit was divided by, and what the logits of hidden and head are yet to be divided by.
    A field that was not asked for is None. Positions that do not count hold zeros.
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
        """Names of the fields that are tensors of [B, T, ...]."""
        return tuple(name for name in cls.__dataclass_fields__ if name not in ("paired_ids", "head", "temperature"))
