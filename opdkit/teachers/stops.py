"""Scores the end of a response as the end, whichever of its stop ids the student wrote or the teacher would write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.heads import Head, support_logits
from opdkit.tokenization import STOP, TokenBytes

# A half-precision product keeps 8 bits of a factor: three parts of a number keep 24.
_PARTS = 3


@dataclass(frozen=True)
class Stops:
    """The ids that end a response on each side; the first of each stands for all in the other vocabulary.

    Attributes:
        ours: the student's. A row that ends with another one than the first is scored as if that were the first; of
            the teacher's probability of an end it gets the `share` that it has of the student's.
        theirs: the teacher's, whose probabilities are added up.
    """

    ours: tuple[int, ...]
    theirs: tuple[int, ...]

    @classmethod
    def of(cls, student: TokenBytes, teacher: TokenBytes) -> Stops:
        """The ids with the role."""
        return cls(_with_role(student.roles), _with_role(teacher.roles))

    @property
    def several(self) -> bool:
        """Whether the teacher has more than one."""
        return len(self.theirs) > 1 and len(self.ours) > 0

    def first_of(self, tokens: Tensor) -> Tensor:
        """The tokens, each stop id of the student the first of them."""
        if len(self.ours) < 2:
            return tokens
        return torch.where(self._others(tokens), self.ours[0], tokens)

    def swapped(self, ids: Tensor, tokens: Tensor) -> Tensor:
        """ids i64[..., K] at tokens i64[...]: where the token is another stop id than the first, the two swapped."""
        if len(self.ours) < 2:
            return ids
        other, token = self._others(tokens)[..., None], tokens[..., None]
        turned = torch.where(ids == self.ours[0], token, torch.where(ids == token, self.ours[0], ids))
        return torch.where(other, turned, ids)

    def swapped_masses(self, masses: Tensor, tokens: Tensor) -> Tensor:
        """`swapped` for a value of each id, masses f[n, V]."""
        if len(self.ours) < 2:
            return masses
        at = self._others(tokens).nonzero()[:, 0]
        turned = masses.clone()
        turned[at, self.ours[0]], turned[at, tokens[at]] = masses[at, tokens[at]], masses[at, self.ours[0]]
        return turned

    def stand_in(self, tokens: Tensor) -> Tensor:
        """The id that speaks of the end at each place, i64[...]: the token where it is a stop, else the first."""
        return torch.where(torch.isin(tokens, torch.tensor(self.ours, device=tokens.device)), tokens, self.ours[0])

    def share(self, logits: Tensor, stand_in: Tensor) -> Tensor:
        """log p(stand-in) - log p(end), f[...]: the part of the student's probability of an end that is the stand-in's.

        logits f[..., S] of `ours`, the student's; stand_in i64[...].
        """
        ours = torch.tensor(self.ours, device=logits.device)
        which = (stand_in[..., None] == ours).long().argmax(-1, keepdim=True)
        return logits.log_softmax(-1).gather(-1, which)[..., 0]

    def gain(self, hidden: Tensor, head: Head, temperature: float) -> Tensor:
        """log sum over the teacher's stop ids of exp z, less the z of the first, f32[N] for hidden [N, D]."""
        ids = torch.tensor(self.theirs, device=hidden.device).expand(len(hidden), -1)
        return gain_of(support_logits(hidden, head, ids, temperature))

    def _others(self, tokens: Tensor) -> Tensor:
        return torch.isin(tokens, torch.tensor(self.ours[1:], device=tokens.device))


def gain_of(logits: Tensor) -> Tensor:
    """log sum exp of logits f[..., S], less the first, f[...]."""
    return logits.logsumexp(-1) - logits[..., 0]


def with_gain(hidden: Tensor, head: Head, row: int, gain: Tensor, temperature: float) -> tuple[Tensor, Head]:
    """hidden [N, D + 3] and a head [V, D + 3] whose logit of one row is greater by gain f[N], all others as they were.

    The head has no softcap.
    """
    rest, parts = gain * temperature / head.scale, list[Tensor]()
    for _ in range(_PARTS):
        parts.append(rest.to(hidden.dtype))
        rest = rest - parts[-1]
    marks = head.weight.new_zeros(len(head.weight), _PARTS)
    marks[row] = 1.0
    wide = torch.cat([hidden, torch.stack(parts, dim=1)], dim=1)
    return wide, replace(head, weight=torch.cat([head.weight, marks], dim=1), tied=False)


def _with_role(roles: Mapping[int, str]) -> tuple[int, ...]:
    return tuple(index for index, role in roles.items() if role == STOP)
