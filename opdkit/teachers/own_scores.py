"""A teacher's distributions over its own vocabulary, at the tokens or spans aligned with the student's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.models import Request
from opdkit.teachers.base import OpenTeacher
from opdkit.teachers.retelling import Bridge, Retokenized
from opdkit.tokenization import Group, align


class MergedScores:
    """Scores spans between common boundaries: `hidden` at a span's first token predicts the teacher's first token."""

    def __init__(self, inner: OpenTeacher, bridge: Bridge, temperature: float) -> None:
        self._inner = inner
        self._bridge = bridge

    def __call__(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `MappedScores`. A span is scored if all of its tokens are in the loss mask."""
        pair = self._bridge.retell(rollout)
        own = self._inner.score(pair.rollout, pair.rollout.sampled_mask, Request(sampled=True, vocabulary=True))
        assert own.hidden is not None
        assert own.sampled_log_prob is not None
        hidden = own.hidden.new_zeros((*loss_mask.shape, own.hidden.shape[-1]))
        length = torch.zeros(loss_mask.shape, dtype=torch.long, device=loss_mask.device)
        later, scored = own.sampled_log_prob.new_zeros(loss_mask.shape), torch.zeros_like(loss_mask)
        for row in range(len(loss_mask)):
            for ours, theirs in self.groups(pair, row):
                if not bool(loss_mask[row, ours.start : ours.stop].all()):
                    continue
                hidden[row, ours.start] = own.hidden[row, theirs.start]
                later[row, ours.start] = own.sampled_log_prob[row, theirs.start + 1 : theirs.stop].sum()
                length[row, ours.start] = len(ours)
                scored[row, ours.start : ours.stop] = True
        return Scores(hidden=hidden, head=own.head, temperature=own.temperature, span_length=length,
                      span_log_prob=later, paired_ids=self._bridge.shared.pairs, scored=scored)  # fmt: skip

    def groups(self, pair: Retokenized, row: int) -> Sequence[Group]:
        """The spans of a row."""
        return align(*self._bridge.symbols(pair.student_ids[row], pair.teacher_ids[row])).groups


class PositionScores(MergedScores):
    """Pairs token t with token t regardless of their texts, up to the shorter response, as in the ULD paper."""

    def groups(self, pair: Retokenized, row: int) -> Sequence[Group]:
        """See `MergedScores`."""
        shorter = min(len(pair.student_ids[row]), len(pair.teacher_ids[row]))
        return [Group(range(at, at + 1), range(at, at + 1)) for at in range(shorter)]
