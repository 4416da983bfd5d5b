"""A teacher's next-token distribution over the student's vocabulary, by the bytes of the tokens.

After byte-prefix marginalisation (arXiv 2607.22334).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from opdkit.tokenization.bytes import TokenBytes

_KEPT = 4096


@dataclass(frozen=True)
class Begun:
    """The teacher's tokens that continue some bytes, and the owner of each one's mass.

    Attributes:
        teacher_ids: i64[m].
        student_ids: i64[m], V_student for the residual.
    """

    teacher_ids: Tensor
    student_ids: Tensor


@dataclass(frozen=True)
class Way:
    """Bytes written since a teacher token boundary.

    Attributes:
        written: the bytes.
        token: the student token with which they end, None if their tokens are unknown.
        before: the bytes before that token.
    """

    written: bytes = b""
    token: int | None = None
    before: Way | None = None

    def then(self, index: int, symbols: Sequence[int | str]) -> Way | None:
        """Extended by a student token; None if it has no text."""
        text = bytes(symbol for symbol in symbols if isinstance(symbol, int))
        return Way(self.written + text, index, self) if text else None


@dataclass(frozen=True)
class UnderWay:
    """The teacher tokens that continue a way: those that gave their mass to each of its student tokens.

    Attributes:
        ids: i64[c].
        owners: i64[c], the next owner of each one's mass, V_student for the residual.
    """

    ids: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]


class BytePrefixMap:
    """Assigns the mass of each teacher token to the longest student token that is a prefix of its bytes.

    Tokens without any such prefix, and special ones without a common role, go to a residual category, so that masses
    sum to one. sizes: V_student and V_teacher, the rows of the two heads.
    """

    def __init__(self, student: TokenBytes, teacher: TokenBytes, sizes: tuple[int, int]) -> None:
        self.residual, self._rows = sizes
        self._ours = {string: index for string, index in student.ids.items() if index < sizes[0]}
        self._longest = max(map(len, self._ours), default=0)
        plain = sorted(
            (string, index)
            for index, string in enumerate(teacher.strings[: sizes[1]])
            if string and index not in teacher.roles
        )
        self._strings, self._ids = [string for string, _ in plain], [index for _, index in plain]
        by_role = {role: index for role, index in student.id_of_role.items() if index < sizes[0]}
        self._roles = {index: role for index, role in teacher.roles.items() if index < sizes[1]}
        self._whole = self._at_boundary({index: by_role.get(role) for index, role in teacher.roles.items()})
        self._ways = lru_cache(maxsize=_KEPT)(self._under_way)
        self._continuing = lru_cache(maxsize=_KEPT)(self._inside)

    def owner(self, string: bytes) -> int:
        """The longest student token that is a prefix of `string`, or the residual."""
        for length in range(min(len(string), self._longest), 0, -1):
            found = self._ours.get(string[:length])
            if found is not None:
                return found
        return self.residual

    def begun(self, written: bytes) -> Begun:
        """The teacher tokens that properly extend `written`; all of them for b""."""
        return self._continuing(written) if written else self._whole

    def under_way(self, way: Way) -> UnderWay:
        """The teacher tokens possible after `way`; all of them if nothing is written."""
        return self._ways(way)

    def ending(self, way: Way, index: int, symbols: Sequence[int | str]) -> list[int]:
        """The teacher tokens possible after `way` that end with the student token `index`."""
        behind = way.then(index, symbols)
        if behind is None:
            return [] if way.written else [own for own, role in self._roles.items() if role in symbols]
        possible = self.under_way(way)
        return [own for own in self.spelling(behind.written) if index in possible.owners[possible.ids == own]]

    def beginning(self, string: bytes) -> list[int]:
        """The teacher ids that start with `string`, including `string` itself."""
        return self._ids[bisect_left(self._strings, string) : self._behind(string)]

    def spelling(self, string: bytes) -> list[int]:
        """The teacher ids whose bytes are exactly `string`."""
        return self._ids[bisect_left(self._strings, string) : bisect_right(self._strings, string)]

    def marginal(self, log_prob: Tensor, written: Sequence[bytes]) -> Tensor:
        """log mass f[N, V_student + 1] of the student's tokens and, last, of the residual; -inf where there is none.

        log_prob f[N, V_teacher] of the teacher at the N boundaries; written: for each, the bytes already written after
        it. Tokens that do not continue these bytes are excluded, and the others renormalised.
        """
        found = log_prob.new_full((len(written), self.residual + 1), -torch.inf)
        for bytes_written, rows in _rows_of(written, log_prob.device):
            begun = self.begun(bytes_written)
            chosen = log_prob[rows]
            if bytes_written:
                chosen = chosen[:, begun.teacher_ids.to(log_prob.device)].log_softmax(-1)
            owners = begun.student_ids.to(log_prob.device)
            found[rows] = scatter_logsumexp(chosen, owners, self.residual + 1)
        return found

    def begins_with(self, log_prob: Tensor, string: bytes) -> Tensor:
        """log mass f[...] of the teacher tokens that start with `string`, itself included. log_prob f[..., V]."""
        ids = self.beginning(string)
        return log_prob[..., torch.tensor(ids, device=log_prob.device, dtype=torch.long)].logsumexp(-1)

    def _at_boundary(self, roles: dict[int, int | None]) -> Begun:
        owners = torch.full((self._rows,), self.residual)
        owners[torch.tensor(self._ids, dtype=torch.long)] = torch.tensor(
            list(map(self.owner, self._strings)), dtype=torch.long
        )
        for index, ours in roles.items():
            if ours is not None and index < self._rows:
                owners[index] = ours
        return Begun(torch.arange(self._rows), owners)

    def _inside(self, written: bytes) -> Begun:
        first, behind = bisect_right(self._strings, written), self._behind(written)
        owners = [self.owner(string[len(written) :]) for string in self._strings[first:behind]]
        return Begun(torch.tensor(self._ids[first:behind], dtype=torch.long), torch.tensor(owners, dtype=torch.long))

    def _under_way(self, way: Way) -> UnderWay:
        begun = self.begun(way.written)
        ids, owners = begun.teacher_ids.numpy(), begun.student_ids.numpy()
        if way.before is not None:
            possible = self.under_way(way.before)
            kept = np.isin(ids, possible.ids[possible.owners == way.token])
            ids, owners = ids[kept], owners[kept]
        return UnderWay(ids, owners)

    def _behind(self, prefix: bytes) -> int:
        """Index of the first sorted string after all that start with `prefix`."""
        kept = prefix.rstrip(b"\xff")
        return bisect_left(self._strings, kept[:-1] + bytes([kept[-1] + 1])) if kept else len(self._strings)


def scatter_logsumexp(values: Tensor, index: Tensor, size: int) -> Tensor:
    """out f[N, size], out_j = log sum over index_i = j of exp values_i; a single value is returned unchanged.

    values f[N, m]; index i64[m].
    """
    spread = index.expand_as(values)
    peak = values.new_full((len(values), size), -torch.inf).scatter_reduce(1, spread, values, "amax")
    height = torch.where(peak.isfinite(), peak, 0.0)
    total = torch.zeros_like(peak).scatter_add(1, spread, (values - height.gather(1, spread)).exp())
    return height + total.log()


def _rows_of(written: Sequence[bytes], device: torch.device) -> list[tuple[bytes, Tensor]]:
    """Distinct strings and their rows."""
    places: dict[bytes, list[int]] = {}
    for row, string in enumerate(written):
        places.setdefault(string, []).append(row)
    return [(string, torch.tensor(rows, device=device)) for string, rows in places.items()]
