"""Masks all but the tokens with the highest student entropy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.masking.base import Vocabularies


@dataclass(frozen=True)
class EntropySelected:
    """Keeps the `fraction` of each response's tokens at which the student's entropy was highest.

    Of n sampled tokens ceil(fraction n) are kept; ties go to the earlier token. 0 < fraction <= 1.
    The entropy is that of the student that sampled the rollout, at the run's temperature.
    """

    needs_entropy: ClassVar[bool] = True
    fraction: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise UserError(f"masking.fraction={self.fraction} is not allowed: 0 < fraction <= 1")

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        # The subtraction keeps .28 x 25 = 7.000000000000001 from rounding up to 8.
        counts = [math.ceil(self.fraction * n - 1e-9) for n in rollout.sampled_mask.sum(dim=1).tolist()]
        wanted = torch.tensor(counts, device=rollout.sampled_mask.device)
        assert rollout.entropy is not None, "a rule that reads entropies is given them"
        entropy = rollout.entropy.masked_fill(~rollout.sampled_mask, -torch.inf)
        order = entropy.argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1)
        return (rank < wanted[:, None]) & rollout.sampled_mask
