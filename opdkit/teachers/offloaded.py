"""Teachers of several tasks, of which one at a time is in memory."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.models import LanguageModel, Request
from opdkit.teachers.local import LoadedTeacher


class ResidentSlot:
    """Holds the one teacher that is in memory."""

    def __init__(self) -> None:
        self.owner: OffloadedTeacher | None = None
        self.held: LoadedTeacher | None = None

    def clear(self) -> None:
        """Let go of the weights."""
        self.owner = self.held = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class OffloadedTeacher:
    """A teacher that is read from disk when it is asked, and makes room for the next one that is.

    spec: what `load(device)` gives the teacher; vocabulary: how many ids it is held to, None for all of its own.
    """

    def __init__(
        self, spec: Any, device: torch.device | str, shelf: ResidentSlot, vocabulary: int | None = None
    ) -> None:
        self._spec = spec
        self._device = device
        self._shelf = shelf
        self._vocabulary = vocabulary

    @property
    def mebibytes(self) -> float:
        """What it takes in memory now: nothing, where another one is there."""
        held = self._shelf.held if self._shelf.owner is self else None
        return 0.0 if held is None else held.mebibytes

    def restricted(self, vocabulary: int) -> OffloadedTeacher:
        """The same teacher over the first `vocabulary` ids alone."""
        return OffloadedTeacher(self._spec, self._device, self._shelf, vocabulary)

    @property
    def model(self) -> LanguageModel:
        """The model, in memory now."""
        return self._loaded().model

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request, temperature: float, batch: int) -> Scores:
        """See `LoadedTeacher.score`."""
        return self._loaded().score(rollout, loss_mask, request, temperature, batch)

    def _loaded(self) -> LoadedTeacher:
        shelf = self._shelf
        if shelf.owner is not self or shelf.held is None:
            shelf.clear()
            loaded: LoadedTeacher = self._spec.load(self._device)
            shelf.owner = self
            shelf.held = loaded if self._vocabulary is None else loaded.restricted(self._vocabulary)
        return shelf.held


def hold_teachers(
    specs: Mapping[str, Any], device: torch.device | str, *, swap: bool
) -> dict[str, LoadedTeacher | OffloadedTeacher]:
    """A teacher for each name. Those that are alike are read once; with `swap` one at a time is in memory."""
    shelf = ResidentSlot()
    found: dict[str, LoadedTeacher | OffloadedTeacher] = {}
    for name, spec in specs.items():
        alike = next((other for other in found if specs[other] == spec), None)
        if alike is not None:
            found[name] = found[alike]
        else:
            found[name] = OffloadedTeacher(spec, device, shelf) if swap else spec.load(device)
    return found
