"""The teacher's distribution over the student's vocabulary given only the bytes written so far.

A tokenization of the whole response leaks the future: whether `1` ended as a number or continued to `15` decides where
the teacher's tokens start, so byte-prefix masses there reveal what the student did. Here every teacher token compatible
with the bytes so far is kept with its weight, and a distribution is the mixture of their continuations: the forward
pass of a hidden Markov model whose hidden state is the current teacher token.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from opdkit.tokenization.alignment import Symbols
from opdkit.tokenization.byte_prefix import BytePrefixMap, Way
from opdkit.tokenization.placement import Placement

Array = npt.NDArray[np.float64]
Branch = tuple[int, int]
"""A token of the teacher, by its place among those of the response, and the id that is tried there instead."""


@dataclass(frozen=True)
class Spelled:
    """A response in both tokenizations.

    Attributes:
        student_ids: n of them.
        symbols: the symbols of each in the common stream.
        placements: where each starts, None where the two texts differ.
        teacher_ids: m of them.
    """

    student_ids: Sequence[int]
    symbols: Sequence[Symbols]
    placements: Sequence[Placement | None]
    teacher_ids: Sequence[int]


@dataclass
class Filtered:
    """The result of a pass over a response.

    Attributes:
        log_mass: f[n, V_student + 1], the residual last; all -inf in a row about which nothing is known.
        wanted: tokens that may have ended where the response's own tokenization continues, with their maximum share of
            the weight. The teacher's distribution after them was not given, so it is residual.
    """

    log_mass: Tensor
    wanted: dict[Branch, float] = field(default_factory=dict[Branch, float])


_NOTHING = Way()


@dataclass(frozen=True)
class _Boundary:
    """A teacher boundary after which its current token starts.

    Attributes:
        log_prob: f64[V_teacher] there.
        weight: log-probability of reaching it, excluding what was written after it.
        way: what is written after it.
        token: its index in the response's own tokenization, None off it.
    """

    log_prob: Array
    weight: float
    way: Way = _NOTHING
    token: int | None = None


class ByteFilter:
    """Computes masses before each student token.

    prefixes: of the two vocabularies; log_prob f[m, V_teacher] before each of the teacher's tokens; branches: log-probs
    f[V_teacher] after tokens off the response's own tokenization.
    """

    def __init__(
        self,
        prefixes: BytePrefixMap,
        spelled: Spelled,
        log_prob: Tensor,
        branches: Mapping[Branch, Tensor] | None = None,
    ) -> None:
        self._prefixes = prefixes
        self._spelled = spelled
        self._fresh = prefixes.marginal(log_prob, [b""] * len(log_prob))
        self._log_prob = _array(log_prob)
        self._branches = {branch: _array(behind) for branch, behind in (branches or {}).items()}
        self._open: list[_Boundary] = []
        self._unknown = -math.inf
        self._wanted: dict[Branch, float] = {}

    def run(self) -> Filtered:
        """Runs one pass over the response."""
        said = self._spelled
        rows = self._fresh.new_full((len(said.student_ids), self._prefixes.residual + 1), -torch.inf)
        for row, (index, symbols, where) in enumerate(
            zip(said.student_ids, said.symbols, said.placements, strict=True)
        ):
            if where is None:
                break
            if not self._open and not where.written:
                self._open = [self._boundary(where.token, 0.0)]
            if self._open:
                rows[row] = self._masses(index, where)
                self._advance(index, symbols, where)
        return Filtered(rows, self._wanted)

    def _boundary(self, token: int, weight: float, way: Way = _NOTHING) -> _Boundary:
        return _Boundary(self._log_prob[token], weight, way, token)

    def _masses(self, sampled: int, where: Placement) -> Tensor:
        first = self._open[0]
        if len(self._open) == 1 and first.way == _NOTHING and first.token is not None and self._unknown == -math.inf:
            # Only a boundary is possible: the teacher's own distribution there, bit for bit.
            self._open = [replace(first, weight=0.0)]
            log_mass = self._fresh[first.token].clone()
        else:
            log_mass = self._mixture()
        path = self._path(where)
        if path is not None and where.crossing is not None:
            source = self._prefixes.owner(where.rest)
            held, moved = log_mass[source], log_mass.new_tensor(self._chain(path, where))
            moved = torch.minimum(moved, held)
            log_mass[source] = held + torch.log(-torch.expm1(moved - held))
            log_mass[sampled] = torch.logaddexp(log_mass[sampled], moved)
        return log_mass

    def _mixture(self) -> Tensor:
        """Masses when several current tokens are possible; their weights are normalised."""
        parts = [(self._prefixes.under_way(open_.way), open_) for open_ in self._open]
        weights = [open_.log_prob[way.ids] + open_.weight for way, open_ in parts]
        highest = max([self._unknown, *(float(weight.max()) for weight in weights if len(weight))])
        masses = np.zeros(self._prefixes.residual + 1)
        for weight, (way, _) in zip(weights, parts, strict=True):
            masses += np.bincount(way.owners, np.exp(weight - highest), len(masses))
        masses[-1] += math.exp(self._unknown - highest)
        total = masses.sum()
        self._open = [replace(open_, weight=open_.weight - highest - math.log(total)) for open_ in self._open]
        with np.errstate(divide="ignore"):
            return torch.from_numpy(np.log(masses / total)).to(self._fresh)

    def _path(self, where: Placement) -> _Boundary | None:
        """The boundary after which the response's own token is current, None if the student's tokens rule it out."""
        own = self._spelled.teacher_ids[where.token]
        for open_ in self._open:
            if open_.token == where.token and own in self._prefixes.under_way(open_.way).ids:
                return open_
        return None

    def _chain(self, path: _Boundary, where: Placement) -> float:
        """log weight of a crossing token's path, with a complete or incomplete last token."""
        assert where.crossing is not None
        last, begun = where.crossing.last, where.crossing.begun
        log_prob = self._log_prob[last]
        ending = (
            logsumexp(log_prob[self._prefixes.beginning(begun)]) if begun else log_prob[self._spelled.teacher_ids[last]]
        )
        return self._reached(path, where) + float(ending)

    def _reached(self, path: _Boundary, where: Placement) -> float:
        """log weight of the boundary at which the last token of a crossing one starts."""
        assert where.crossing is not None
        steps = range(where.token, where.crossing.last)
        return path.weight + sum(float(self._log_prob[j, self._spelled.teacher_ids[j]]) for j in steps)

    def _advance(self, index: int, symbols: Symbols, where: Placement) -> None:
        """Keeps the states compatible with the student token."""
        crossing, path = where.crossing, self._path(where)
        found: list[_Boundary] = []
        ended: list[tuple[_Boundary, int]] = []
        for open_ in self._open:
            ended += [(open_, own) for own in self._prefixes.ending(open_.way, index, symbols)]
            way = open_.way.then(index, symbols)
            if way is not None and len(self._prefixes.under_way(way).ids):
                found.append(replace(open_, way=way))
        if path is not None and crossing is not None:
            last = self._boundary(crossing.last, self._reached(path, where), Way(crossing.begun))
            if crossing.begun:
                found.append(last)
                ended += [(last, own) for own in self._prefixes.spelling(crossing.begun)]
            else:
                ended.append((last, self._spelled.teacher_ids[crossing.last]))
        self._open = found
        self._close(ended)

    def _close(self, ended: list[tuple[_Boundary, int]]) -> None:
        """Adds the boundaries after completed tokens."""
        ids, unknown = self._spelled.teacher_ids, dict[Branch, float]()
        self._unknown = -math.inf
        for open_, own in ended:
            weight = open_.weight + float(open_.log_prob[own])
            token = open_.token
            if token is not None and own == ids[token]:
                if token + 1 < len(ids):
                    self._open.append(self._boundary(token + 1, weight))
            elif token is not None and (token, own) in self._branches:
                self._open.append(_Boundary(self._branches[token, own], weight))
            else:
                self._unknown = float(np.logaddexp(self._unknown, weight))
                if token is not None:
                    unknown[token, own] = weight
        if unknown:
            held = [logsumexp(o.log_prob[self._prefixes.under_way(o.way).ids]) + o.weight for o in self._open]
            total = logsumexp(np.array([*held, self._unknown]))
            for branch, weight in unknown.items():
                self._wanted[branch] = max(self._wanted.get(branch, 0.0), math.exp(weight - total))


def _array(log_prob: Tensor) -> Array:
    return log_prob.double().cpu().numpy()


def logsumexp(values: Array) -> float:
    """log sum exp; -inf of an empty tensor."""
    highest = float(values.max()) if len(values) else -math.inf
    return highest if highest == -math.inf else highest + math.log(float(np.exp(values - highest).sum()))
