"""The placement of a run's model weights: replicated on every rank, or sharded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from opdkit.models.language_model import LanguageModel


class Placement(Protocol):
    """How models are placed on the ranks."""

    @property
    def loads_on(self) -> torch.device:
        """The device that a model is loaded on before it is placed."""
        ...

    def place(self, read: Callable[[], LanguageModel], dtype: torch.dtype | None = None) -> LanguageModel:
        """Place the model returned by `read`. All ranks must place the same models in the same order.

        dtype: the dtype of computation, None for that of the weights.
        """
        ...

    def together(self) -> AbstractContextManager[object]:
        """A context for scoring and backward passes, entered by every rank even if it has no rows."""
        ...

    def rest(self) -> None:
        """Free the gathered weights of all models."""
        ...


@dataclass(frozen=True)
class Whole:
    """All weights on every rank: a model stays where it was loaded."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def loads_on(self) -> torch.device:
        """See `Placement`."""
        return self.device

    def place(self, read: Callable[[], LanguageModel], dtype: torch.dtype | None = None) -> LanguageModel:
        """See `Placement`. The dtype is left to autocast."""
        return read()

    def together(self) -> AbstractContextManager[object]:
        """See `Placement`."""
        return nullcontext()

    def rest(self) -> None:
        """See `Placement`."""


def local_part(tensor: Tensor) -> Tensor:
    """This rank's shard of a DTensor, sharing its memory; any other tensor unchanged."""
    from torch.distributed.tensor import DTensor  # takes about a second to import

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
