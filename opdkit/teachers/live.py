"""Self-teachers: the student's initial, current, periodically refreshed, or averaged weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.generation import Engine, EngineSpec
from opdkit.heads import Head
from opdkit.models import LanguageModel, Request
from opdkit.models.placement import local_part
from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext
from opdkit.teachers.local import OpenLocalTeacher

Kind = Literal["start", "live", "refreshed", "ema"]


@dataclass(frozen=True)
class SelfTeacher:
    """The run's own student as its teacher.

    Attributes:
        kind: the weights to score with. start: the run's initial weights. live: the student's current weights, without
            a copy. refreshed: a copy that is updated every `every` steps. ema: an exponential moving average, updated
            with coefficient `rate` after each step.
        every: steps between updates of the copy, for refreshed.
        rate: update coefficient, for ema.
    """

    kind: Kind = "live"
    every: int = 10
    rate: float = 0.05

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise UserError(f"teacher.kind={self.kind!r} is not one of {', '.join(get_args(Kind))}")
        if self.every < 1:
            raise UserError(f"teacher.every={self.every}: must be at least 1")
        if not 0.0 < self.rate <= 1.0:
            raise UserError(f"teacher.rate={self.rate}: must be above 0 and at most 1")

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return f"self ({self.kind})"

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities(changes=True)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Nothing is loaded, since the student is already in memory."""
        student = replace(context.student, name=self.path, autocast=context.autocast)
        model = student
        if self.kind == "start" and student.adapter is not None:
            return OpenBaseTeacher(self, student, student, context)
        if self.kind != "live":
            model = student.copied()
        return OpenSelfTeacher(self, student, model, context)


class OpenSelfTeacher(OpenLocalTeacher):
    """Scores with `model`, which is the student itself or a copy of it."""

    def __init__(
        self, spec: SelfTeacher, student: LanguageModel, model: LanguageModel, context: TeacherContext
    ) -> None:
        super().__init__(model, context.temperature, context.batch)
        self._spec = spec
        self._student = student
        self._context = context

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        return OpenSelfTeacher(self._spec, self._student, self._model.restricted(vocabulary), self._context)

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`. Uses the student's precision, so that a live teacher agrees with the student."""
        autocast = self._model.autocast
        with torch.autocast(self._model.device.type, autocast, enabled=autocast is not None):
            scores = super().score(rollout, loss_mask, request)
        if scores.head is None or self._spec.kind != "live":
            return scores
        return replace(scores, head=_as_it_stands(scores.head))

    def bytes(self) -> int:
        """See `OpenTeacher`. 0 for a live teacher."""
        return 0 if self._spec.kind == "live" else super().bytes()

    @torch.no_grad()
    def after_update(self, step: int) -> None:
        """See `OpenTeacher`."""
        refreshes = self._spec.kind == "refreshed" and (step + 1) % self._spec.every == 0
        if not refreshes and self._spec.kind != "ema":
            return
        rate = self._spec.rate if self._spec.kind == "ema" else 1.0
        pairs = zip(self._model.own_parameters().values(), self._student.own_parameters().values(), strict=True)
        for own, student in pairs:
            own, student = local_part(own), local_part(student)
            own.copy_(student) if rate == 1.0 else own.lerp_(student, rate)

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`. The copy's weights, with tied ones once."""
        return {} if self._spec.kind == "live" else dict(self._model.own_parameters())

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """See `OpenTeacher`."""
        if self._spec.kind != "live":
            for name, own in self._model.own_parameters().items():
                if name in state:  # sharded tensors have been restored in place
                    own.copy_(state[name])


class OpenBaseTeacher(OpenSelfTeacher):
    """Scores with the student's adapters disabled: the run's initial weights, without a copy."""

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        return OpenBaseTeacher(self._spec, self._student, self._model.restricted(vocabulary), self._context)

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`."""
        assert self._model.adapter is not None
        with self._model.adapter.disabled():
            return super().score(rollout, loss_mask, request)

    def bytes(self) -> int:
        """See `OpenTeacher`."""
        return 0

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """See `OpenTeacher`. None: an engine would generate with the adapters enabled."""
        return None

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`. The base never changes."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `OpenTeacher`."""


def _as_it_stands(head: Head) -> Head:
    """A copy of lm_head, so that the step's updates do not change scores computed before them."""
    bias = None if head.bias is None else head.bias.detach().clone()
    return replace(head, weight=head.weight.detach().clone(), bias=bias)
