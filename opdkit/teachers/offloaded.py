"""A teacher that is in memory only while it is used."""

from __future__ import annotations

import gc
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from opdkit import device
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.generation import Engine, EngineSpec
from opdkit.models import LanguageModel, Request
from opdkit.teachers.base import OpenTeacher, Teacher, TeacherContext


class ResidentSlot:
    """Holds the single teacher that is in memory."""

    def __init__(self) -> None:
        self.owner: OffloadedTeacher | None = None
        self.resident: OpenTeacher | None = None

    def clear(self) -> None:
        """Free the weights."""
        if self.resident is not None:
            self.resident.close()
        self.owner = self.resident = None
        gc.collect()
        device.empty_cache()


@dataclass(frozen=True)
class OffloadedTeacher:
    """A teacher that is loaded from disk when used, replacing the previous one in memory.

    Attributes:
        teacher: the teacher's configuration.
        context: the context to open it in.
        slot: shared by the teachers of a run.
        limit: the vocabulary size it is restricted to, None for its own.
    """

    teacher: Teacher
    context: TeacherContext
    slot: ResidentSlot
    limit: int | None = None

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self.teacher.path

    @property
    def tokenizer(self) -> Any:
        """See `OpenTeacher`."""
        return self._open().tokenizer

    @property
    def vocabulary(self) -> int:
        """See `OpenTeacher`."""
        return self._open().vocabulary

    @property
    def stop_ids(self) -> frozenset[int]:
        """See `OpenTeacher`."""
        return self._open().stop_ids

    def check(self, student: LanguageModel) -> None:
        """See `OpenTeacher`."""
        self._open().check(student)

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        return OffloadedTeacher(self.teacher, self.context, self.slot, vocabulary)

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`."""
        return self._open().score(rollout, loss_mask, request)

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """See `OpenTeacher`. The engine uses the weights that are in memory now."""
        return self._open().writer(spec)

    def metrics(self) -> Mapping[str, float]:
        """See `OpenTeacher`."""
        resident = self.slot.resident if self.slot.owner is self else None
        return {} if resident is None else resident.metrics()

    def bytes(self) -> int:
        """See `OpenTeacher`."""
        resident = self.slot.resident if self.slot.owner is self else None
        return 0 if resident is None else resident.bytes()

    def after_update(self, step: int) -> None:
        """See `OpenTeacher`. Only teachers that never change are offloaded."""

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """See `OpenTeacher`."""

    def close(self) -> None:
        """See `OpenTeacher`."""
        if self.slot.owner is self:
            self.slot.clear()

    def _open(self) -> OpenTeacher:
        if self.slot.owner is not self or self.slot.resident is None:
            self.slot.clear()
            opened = self.teacher.open(self.context)
            self.slot.owner = self
            self.slot.resident = opened if self.limit is None else opened.restricted(self.limit)
        return self.slot.resident


Name = TypeVar("Name", bound=Hashable)


def open_teachers(
    teachers: Mapping[Name, Teacher], context: TeacherContext, *, offload: bool
) -> dict[Name, OpenTeacher]:
    """An open teacher for each name. Equal teachers are opened once.

    With `offload` only one at a time is in memory, in addition to those that change.
    """
    slot = ResidentSlot()
    opened: dict[Name, OpenTeacher] = {}
    for name, teacher in teachers.items():
        equal = next((other for other in opened if teachers[other] == teacher), None)
        if equal is not None:
            opened[name] = opened[equal]
        else:
            swaps = offload and not teacher.capabilities.changes
            opened[name] = OffloadedTeacher(teacher, context, slot) if swaps else teacher.open(context)
    return opened
