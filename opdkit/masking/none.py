"""No masking."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from opdkit.masking.base import Vocabularies
from opdkit.types import Rollout


@dataclass(frozen=True)
class NoMask:
    """Every sampled token counts."""

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        return rollout.mask
