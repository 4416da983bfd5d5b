"""Byte-level scores: the teacher's distribution mapped to the student's vocabulary through bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.rows import join_scores
from opdkit.data.scores import Scores
from opdkit.functional.supports import intersect_supports, join_supports
from opdkit.heads import Head
from opdkit.heads.tiles import plan_kept
from opdkit.models import Request
from opdkit.teachers.base import OpenTeacher
from opdkit.teachers.retelling import Bridge, Retokenized
from opdkit.tokenization import Branch, ByteFilter, BytePrefixMap, Spelled, place, student_log_mass

_LEAST_SHARE = 0.01


@dataclass(frozen=True)
class _Row:
    """Log probability mass over the student's vocabulary and a residual, at the tokens `positions` of a row."""

    positions: Tensor
    log_mass: Tensor


class BytePrefixScores:
    """Scores all tokens by byte-prefix marginalisation. Masses are normalised; ids without mass are in no support."""

    def __init__(self, inner: OpenTeacher, bridge: Bridge, temperature: float) -> None:
        self._inner = inner
        self._bridge = bridge
        self._temperature = temperature
        sizes = (len(bridge.shared.to_teacher), len(bridge.shared.to_student))
        self._prefixes = BytePrefixMap(bridge.student, bridge.teacher, sizes)

    def __call__(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `MappedScores`."""
        pair = self._bridge.retell(rollout)
        states = self._inner.score(pair.rollout, pair.rollout.sampled_mask, Request(vocabulary=True))
        log_probs = _log_probs(states, pair, self._temperature)
        scored = torch.zeros_like(loss_mask)
        parts: list[Scores] = []
        stops = self._bridge.stops
        for row, log_mass in enumerate(self._log_masses(pair, log_probs)):
            ours = torch.tensor(pair.student_ids[row], dtype=torch.long, device=log_mass.device)
            found = _known(stops.swapped_masses(log_mass, ours), ours, loss_mask[row])
            scored[row, found.positions] = True
            parts.append(_scores_of(found, rollout.tokens[row], _row_of(request, row)))
        joined = join_scores(parts, rollout.tokens.shape[1])
        return replace(joined, scored=scored, temperature=self._temperature)

    def _log_masses(self, pair: Retokenized, log_probs: Iterable[Tensor]) -> Iterator[Tensor]:
        """Per row, log mass f[n, V_student + 1] at its n tokens; -inf where unknown."""
        for spelled, log_prob in zip(self._spelled(pair), log_probs, strict=True):
            known = [place for place in spelled.placements if place is not None]
            full = log_prob.new_full((len(spelled.student_ids), self._prefixes.residual + 1), -torch.inf)
            if len(known) == len(full) > 0:
                full = student_log_mass(self._prefixes, log_prob, spelled.teacher_ids, spelled.student_ids, known)
            yield full

    def _spelled(self, pair: Retokenized) -> list[Spelled]:
        rows: list[Spelled] = []
        for ours, theirs in zip(pair.student_ids, pair.teacher_ids, strict=True):
            symbols = self._bridge.symbols(ours, theirs)
            rows.append(Spelled(ours, symbols[0], place(*symbols), theirs))
        return rows


class ByteFilterScores(BytePrefixScores):
    """Scores all tokens conditioned only on the bytes so far, see `ByteFilter`.

    If a shorter teacher token may have ended inside one of the teacher's tokens, that branch is scored by another pass
    of the teacher, provided that it has at least 1 % of the weight.
    """

    def _log_masses(self, pair: Retokenized, log_probs: Iterable[Tensor]) -> Iterator[Tensor]:
        rows, kept = self._spelled(pair), list(log_probs)
        wanted = [
            (row, branch)
            for row, (spelled, log_prob) in enumerate(zip(rows, kept, strict=True))
            for branch, share in ByteFilter(self._prefixes, spelled, log_prob).run().wanted.items()
            if share >= _LEAST_SHARE
        ]
        behind = dict(zip(wanted, self._behind(pair, wanted), strict=True))
        for row, (spelled, log_prob) in enumerate(zip(rows, kept, strict=True)):
            branches = {branch: value for (of, branch), value in behind.items() if of == row}
            yield ByteFilter(self._prefixes, spelled, log_prob, branches).run().log_mass

    def _behind(self, pair: Retokenized, wanted: Sequence[tuple[int, Branch]]) -> Tensor:
        """The teacher's log-probs f[len(wanted), V_teacher] after each branch."""
        if not wanted:
            return torch.zeros(0, 0)
        rows = [row for row, _ in wanted]
        responses = [[*pair.teacher_ids[row][:token], own, own] for row, (token, own) in wanted]
        asked = self._bridge.rows(pair, rows, responses)
        last = torch.tensor([len(response) - 1 for response in responses], device=asked.tokens.device)
        each = torch.arange(len(rows), device=last.device)
        mask = torch.zeros_like(asked.sampled_mask).index_put((each, last), torch.ones_like(each).bool())
        states = self._inner.score(asked, mask, Request(vocabulary=True))
        assert states.hidden is not None
        assert states.head is not None
        return full_log_prob(states.hidden[each, last], states.head, self._temperature)


def _log_probs(states: Scores, pair: Retokenized, temperature: float) -> Iterator[Tensor]:
    """Per row, the log q f[m, V_teacher] that predict its m tokens."""
    assert states.hidden is not None
    assert states.head is not None
    for row, theirs in enumerate(pair.teacher_ids):
        yield full_log_prob(states.hidden[row, : len(theirs)], states.head, temperature)


def _known(log_mass: Tensor, sampled: Tensor, counted: Tensor) -> _Row:
    """The masses at the unmasked tokens whose sampled id has any. An id that no token sequence of the teacher can start
    with has none and can't be scored."""
    has = counted[: len(sampled)] & log_mass.gather(1, sampled[:, None])[:, 0].isfinite()
    return _Row(has.nonzero()[:, 0], log_mass[has])


def full_log_prob(hidden: Tensor, head: Head, temperature: float) -> Tensor:
    """log q f[N, V] of hidden [N, D]; N must be small."""
    walk = plan_kept(hidden, head, temperature)
    rows = slice(0, len(hidden))
    return torch.cat([tile.logits(rows) for tile in walk.tiles()], dim=1).log_softmax(-1)


def _row_of(request: Request, row: int) -> Request:
    ids, mask = request.support_ids, request.support_mask
    return replace(
        request, support_ids=None if ids is None else ids[row], support_mask=None if mask is None else mask[row]
    )


def _scores_of(found: _Row, tokens: Tensor, request: Request) -> Scores:
    """Scores [1, T, ...] of a row of T tokens. Masses are normalised log-probs, so the logsumexp is 0."""
    masses, at = found.log_mass[:, :-1], found.positions
    fields: dict[str, Tensor] = {}
    sampled = tokens[at][:, None]
    whole = request.normaliser or request.stats_k > 0
    if request.sampled or whole:
        fields["sampled_log_prob"] = masses.gather(1, sampled)[:, 0]
    if whole:
        fields["logsumexp"] = masses.new_zeros(len(at))
    if request.stats_k:
        finite = found.log_mass.masked_fill(~found.log_mass.isfinite(), 0.0)
        fields["entropy"] = -(found.log_mass.exp() * finite).sum(-1)
        fields["top_ids"] = masses.topk(min(request.stats_k, masses.shape[1])).indices
    ids, mask = _support_of(masses, at, request)
    if ids is not None:
        if request.include_sampled:
            ids, mask = join_supports([ids, sampled], [mask, None])
        logits = masses.gather(1, ids)
        known = logits.isfinite() if mask is None else mask & logits.isfinite()
        fields |= {"support_ids": ids, "support_logits": logits.masked_fill(~known, 0.0), "support_mask": known}
    full = {name: value.new_zeros((len(tokens), *value.shape[1:])) for name, value in fields.items()}
    return replace(Scores(), **{name: full[name].index_put((at,), value)[None] for name, value in fields.items()})


def _support_of(masses: Tensor, at: Tensor, request: Request) -> tuple[Tensor | None, Tensor | None]:
    own = masses.topk(min(request.top_k, masses.shape[1])).indices if request.top_k else None
    given = None if request.support_ids is None else request.support_ids[at]
    mask = None if request.support_mask is None else request.support_mask[at]
    if own is None or given is None:
        return (own, None) if given is None else (given, mask)
    if request.combine == "intersection":
        return intersect_supports(own, given, mask)
    return join_supports([own, given], [None, mask])
