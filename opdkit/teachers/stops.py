"""Scores the end of a response as one event, whichever stop id the student sampled or the teacher would use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.heads import Head, support_logits
from opdkit.tokenization import STOP, TokenBytes

# A half-precision product keeps 8 bits of a factor, so a float32 split into three parts keeps its 24.
_PARTS = 3


@dataclass(frozen=True)
class Stops:
    """The stop ids of both models; the first of each represents all of them in the other vocabulary.

    Attributes:
        ours: the student's. A row that ends with another id than the first is scored as if it were the first, and gets
            the part of the teacher's probability of ending that corresponds to its `share` of the student's.
        theirs: the teacher's, whose probabilities are summed.
    """

    ours: tuple[int, ...]
    theirs: tuple[int, ...]

    @classmethod
    def of(cls, student: TokenBytes, teacher: TokenBytes) -> Stops:
        """The stop ids of two tokenizers, found by their roles."""
        return cls(_with_role(student.roles), _with_role(teacher.roles))

    @property
    def several(self) -> bool:
        """Whether the teacher has several stop ids, and the student any."""
        return len(self.theirs) > 1 and len(self.ours) > 0

    def first_of(self, tokens: Tensor) -> Tensor:
        """The tokens, with each stop id of the student replaced by the first."""
        if len(self.ours) < 2:
            return tokens
        return torch.where(self._others(tokens), self.ours[0], tokens)

    def swapped(self, ids: Tensor, tokens: Tensor) -> Tensor:
        """ids i64[..., K], with the first stop id and the token swapped where tokens i64[...] is another stop id."""
        if len(self.ours) < 2:
            return ids
        other, token = self._others(tokens)[..., None], tokens[..., None]
        turned = torch.where(ids == self.ours[0], token, torch.where(ids == token, self.ours[0], ids))
        return torch.where(other, turned, ids)

    def swapped_masses(self, masses: Tensor, tokens: Tensor) -> Tensor:
        """`swapped` for values per id, masses f[n, V]."""
        if len(self.ours) < 2:
            return masses
        at = self._others(tokens).nonzero()[:, 0]
        turned = masses.clone()
        turned[at, self.ours[0]], turned[at, tokens[at]] = masses[at, tokens[at]], masses[at, self.ours[0]]
        return turned

    def stand_in(self, tokens: Tensor) -> Tensor:
        """The id that represents ending at each position, i64[...]: the token if it is a stop id, else the first."""
        return torch.where(torch.isin(tokens, torch.tensor(self.ours, device=tokens.device)), tokens, self.ours[0])

    def share(self, logits: Tensor, stand_in: Tensor) -> Tensor:
        """log p(stand-in) - log p(end), f[...]: the stand-in's share of the student's probability of ending.

        logits f[..., S] of `ours`, the student's; stand_in i64[...].
        """
        ours = torch.tensor(self.ours, device=logits.device)
        which = (stand_in[..., None] == ours).long().argmax(-1, keepdim=True)
        return logits.log_softmax(-1).gather(-1, which)[..., 0]

    def gain(self, hidden: Tensor, head: Head, temperature: float) -> Tensor:
        """Logsumexp of z over the teacher's stop ids minus z of the first, f32[N] for hidden [N, D]."""
        ids = torch.tensor(self.theirs, device=hidden.device).expand(len(hidden), -1)
        return gain_of(support_logits(hidden, head, ids, temperature))

    def _others(self, tokens: Tensor) -> Tensor:
        return torch.isin(tokens, torch.tensor(self.ours[1:], device=tokens.device))


def gain_of(logits: Tensor) -> Tensor:
    """Logsumexp of logits f[..., S] minus the first, f[...]."""
    return logits.logsumexp(-1) - logits[..., 0]


def with_gain(hidden: Tensor, head: Head, row: int, gain: Tensor, temperature: float) -> tuple[Tensor, Head]:
    """hidden [N, D + 3] and a head [V, D + 3] in which the logit of one row is increased by gain f[N].

    The head must have no softcap.
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
