"""Maps scores of the teacher's tokens to scores of the student's, with one class per rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.heads import Head, logsumexp
from opdkit.models import Request
from opdkit.models.scorer import score_hidden
from opdkit.teachers.base import OpenTeacher
from opdkit.teachers.retelling import Bridge, Retokenized
from opdkit.teachers.stops import gain_of, with_gain
from opdkit.tokenization import align, share_span_log_ratio


class MappedScores(Protocol):
    """Scores of the student's tokens, mapped from an inner teacher's, without gradient."""

    def __init__(self, inner: OpenTeacher, bridge: Bridge, temperature: float) -> None: ...

    def __call__(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T]; `scored` marks those that could be scored."""
        ...


class StrictScores:
    """Scores tokens that align one to one, over the shared ids: the support has only shared ids, and log-probs,
    logsumexp and entropy are over the teacher's full vocabulary."""

    def __init__(self, inner: OpenTeacher, bridge: Bridge, temperature: float) -> None:
        self._inner = inner
        self._bridge = bridge
        self._temperature = temperature
        self._shared_head: tuple[Tensor, Head] | None = None

    def __call__(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `MappedScores`."""
        hidden, head, at = self._states(rollout, loss_mask)
        stops, tokens = self._bridge.stops, self._bridge.stops.first_of(rollout.tokens)
        to_teacher = self._bridge.shared.to_teacher.to(loss_mask.device)
        whole = Request(sampled=request.sampled, normaliser=request.normaliser, stats_k=int(request.stats_k > 0))
        found = score_hidden(hidden, head, to_teacher[tokens].clamp(min=0), at, whole, self._temperature)
        log_prob, shared = found.sampled_log_prob, self._head(head)
        row = (self._bridge.shared.student_ids == stops.ours[0]).nonzero() if stops.several else None
        if row is not None and len(row) and head.softcap is None:
            gain = stops.gain(hidden, head, self._temperature)
            if log_prob is not None:
                ends = tokens[at] == stops.ours[0]
                log_prob = log_prob.index_put(at, torch.where(ends, gain, 0.0), accumulate=True)
            hidden, shared = with_gain(hidden, shared, int(row), gain, self._temperature)
        support = self._support(hidden, shared, rollout.tokens, at, request)
        scored = torch.zeros_like(loss_mask).index_put(at, torch.ones_like(at[0]).bool())
        return replace(support, sampled_log_prob=log_prob, logsumexp=found.logsumexp,
                       entropy=found.entropy, scored=scored)  # fmt: skip

    def shared_mass(self, rollout: Rollout) -> float | None:
        """The teacher's probability of the shared ids, averaged over the strictly aligned tokens; None if there are
        none."""
        hidden, head, _ = self._states(rollout, rollout.sampled_mask)
        if not len(hidden):
            return None
        inside, whole = (logsumexp(hidden, one, self._temperature) for one in (self._head(head), head))
        return (inside - whole).exp().mean().item()

    def _states(self, rollout: Rollout, loss_mask: Tensor) -> tuple[Tensor, Head, tuple[Tensor, Tensor]]:
        """The teacher's hidden f[N, D] and lm_head, and rows and positions i64[N] of the student's aligned tokens."""
        pair = self._bridge.retell(rollout)
        rows, ours, theirs = self._pairs(pair, loss_mask).unbind(1)
        mask = torch.zeros_like(pair.rollout.sampled_mask).index_put((rows, theirs), torch.ones_like(rows).bool())
        states = self._inner.score(pair.rollout, mask, Request(vocabulary=True))
        assert states.hidden is not None
        assert states.head is not None
        return states.hidden[rows, theirs], states.head, (rows, ours)

    def _pairs(self, pair: Retokenized, loss_mask: Tensor) -> Tensor:
        """i64[N, 3]: row, index of the student's token, index of the teacher's, in the student's order."""
        to_teacher = self._bridge.shared.to_teacher
        counted = loss_mask.tolist()
        pairs: list[tuple[int, int, int]] = []
        for row, (ours, theirs) in enumerate(zip(pair.student_ids, pair.teacher_ids, strict=True)):
            firsts = self._bridge.stops.first_of(torch.tensor(ours, dtype=torch.long)).tolist()
            for i, j in align(*self._bridge.symbols(ours, theirs)).strict:
                if counted[row][i] and int(to_teacher[firsts[i]]) == theirs[j]:
                    pairs.append((row, i, j))
        return torch.tensor(pairs, dtype=torch.long, device=loss_mask.device).reshape(-1, 3)

    def _support(
        self, hidden: Tensor, head: Head, tokens: Tensor, at: tuple[Tensor, Tensor], request: Request
    ) -> Scores:
        """Supports in the student's ids, from a head restricted to the shared rows."""
        shared, stops = self._bridge.shared, self._bridge.stops
        device = tokens.device
        names = shared.student_ids.to(device)
        index = torch.full((len(shared.to_teacher),), -1, device=device).index_put(
            (names,), torch.arange(len(names), device=device)
        )
        given, mask = request.support_ids, request.support_mask
        if given is not None:
            known = index[stops.swapped(given, tokens)]
            mask = (known >= 0) if mask is None else mask & (known >= 0)
            mask = None if bool(mask.all()) else mask
            given = known.clamp(min=0)
        wanted = replace(
            request, sampled=False, normaliser=False, vocabulary=False, top_k=min(request.top_k, len(names)),
            support_ids=given, support_mask=mask, stats_k=min(request.stats_k, len(names)),
        )  # fmt: skip
        firsts = index[stops.first_of(tokens)].clamp(min=0)
        found = score_hidden(hidden, head, firsts, at, wanted, self._temperature)
        named = {
            name: None if ids is None else stops.swapped(names[ids], tokens)
            for name, ids in (("support_ids", found.support_ids), ("top_ids", found.top_ids))
        }
        return replace(found, **named)

    def _head(self, head: Head) -> Head:
        """The head restricted to the shared ids, cached as long as the weight is the same tensor."""
        ids = self._bridge.shared.teacher_ids.to(head.weight.device)
        if len(ids) == head.vocabulary and torch.equal(ids, torch.arange(len(ids), device=ids.device)):
            return head
        if self._shared_head is None or self._shared_head[0] is not head.weight:
            bias = None if head.bias is None else head.bias[ids]
            rows = replace(head, weight=head.weight[ids], bias=bias, vocabulary=len(ids), tied=False)
            self._shared_head = (head.weight, rows)
        return self._shared_head[1]


class SpanScores:
    """Scores only the sampled token: each token of a span gets an equal share of the span's log-ratio to the behaviour
    policy."""

    def __init__(self, inner: OpenTeacher, bridge: Bridge, temperature: float) -> None:
        self._inner = inner
        self._bridge = bridge

    def __call__(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `MappedScores`."""
        pair = self._bridge.retell(rollout)
        own = self._own(pair)
        log_prob, scored = torch.zeros_like(rollout.behaviour_log_prob), torch.zeros_like(loss_mask)
        for row, (ours, theirs) in enumerate(zip(pair.student_ids, pair.teacher_ids, strict=True)):
            found = align(*self._bridge.symbols(ours, theirs))
            if found.groups:
                shared = share_span_log_ratio(rollout.behaviour_log_prob[row], own[row], found)
                log_prob[row, : len(shared)] = shared
                scored[row, : len(shared)] = True
        return Scores(sampled_log_prob=log_prob.masked_fill(~loss_mask, 0.0), scored=scored & loss_mask)

    def _own(self, pair: Retokenized) -> Tensor:
        """f32[B, T'], log q of the teacher's tokens; at a stop, that of all its stop ids together."""
        tokens, stops = pair.rollout.tokens, self._bridge.stops
        ids = torch.tensor(stops.theirs, device=tokens.device).expand(*tokens.shape, -1) if stops.several else None
        found = self._inner.score(pair.rollout, pair.rollout.sampled_mask, Request(sampled=True, support_ids=ids))
        own = found.sampled_log_prob
        assert own is not None
        if ids is None:
            return own
        assert found.support_logits is not None
        return own + torch.where(tokens == stops.theirs[0], gain_of(found.support_logits), 0.0)
