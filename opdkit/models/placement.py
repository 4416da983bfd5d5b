"""Where the weights of a run's models lie: whole in each process, or a part in each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from opdkit.models.language_model import LanguageModel


class Placement(Protocol):
    """How models are placed."""

    @property
    def loads_on(self) -> torch.device:
        """Where a model is read to before it is placed."""
        ...

    def place(self, read: Callable[[], LanguageModel], dtype: torch.dtype | None = None) -> LanguageModel:
        """The model that `read` gives, where it will be used. All processes place the same models in the same order.

        dtype: what it computes in, None for that of its weights.
        """
        ...

    def together(self) -> AbstractContextManager[object]:
        """A context for scoring and backward passes, which every process enters, whether it has rows or not."""
        ...

    def rest(self) -> None:
        """Let go of what is gathered of all models."""
        ...


@dataclass(frozen=True)
class Whole:
    """All weights in each process: a model is where it was read to."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def loads_on(self) -> torch.device:
        """See `Placement`."""
        return self.device

    def place(self, read: Callable[[], LanguageModel], dtype: torch.dtype | None = None) -> LanguageModel:
        """See `Placement`. Autocast narrows what it computes in."""
        return read()

    def together(self) -> AbstractContextManager[object]:
        """See `Placement`."""
        return nullcontext()

    def rest(self) -> None:
        """See `Placement`."""


def local_part(tensor: Tensor) -> Tensor:
    """This process's part of a divided tensor, sharing its memory; any other tensor as it is."""
    from torch.distributed.tensor import DTensor  # a second or so, which not every command needs

    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
