"""Masks nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.masking.base import Vocabularies


@dataclass(frozen=True)
class NoMask:
    """Keeps every sampled token."""

    needs_entropy: ClassVar[bool] = False

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        return rollout.sampled_mask
