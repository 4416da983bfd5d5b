"""A teacher extrapolated beyond another one, away from a reference model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.heads import Head
from opdkit.models import LanguageModel, Request
from opdkit.models.scorer import score_hidden
from opdkit.teachers.base import Capabilities, OpenTeacher, Teacher, TeacherContext
from opdkit.teachers.wrapped import WrappedTeacher


@dataclass(frozen=True)
class ExtrapolatedTeacher:
    """q^s ref^(1 - s) / Z at each prefix: the logits s z_q + (1 - s) z_ref.

    The sampled log-ratio is then s (log q - log ref) - (log p - log ref) - log Z, G-OPD's reward minus a constant of
    the prefix, which does not change the mean gradient. strength 1 is the inner teacher, above 1 extrapolates beyond
    it (ExOPD), and below 1 keeps the student closer to the reference.

    Source: 2026, arXiv 2602.12125.

    Attributes:
        inner: the teacher.
        reference: the model it was trained from, or the student's initial weights.
        strength: s, at least 0.
    """

    inner: Any
    reference: Any
    strength: float = 1.25

    def __post_init__(self) -> None:
        if not 0.0 <= self.strength < float("inf"):
            raise UserError(f"teacher.strength={self.strength}: must be at least 0, and finite")

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return f"extrapolated {self.inner.path}"

    @property
    def capabilities(self) -> Capabilities:
        """Everything but responses, for which the two models would have to generate together."""
        both = (self.inner.capabilities, self.reference.capabilities)
        reads = frozenset[str]().union(*(one.reads for one in both))
        return Capabilities(text=False, reads=reads, changes=any(one.changes for one in both))

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError for a model that can't provide its full vocabulary."""
        models: dict[str, Teacher] = {"inner": self.inner, "reference": self.reference}
        for key, model in models.items():
            if not model.capabilities.vocabulary:
                raise UserError(f"teacher.{key}={model.path} can't give its hidden states and lm_head")
        return OpenExtrapolatedTeacher(self, self.inner.open(context), self.reference.open(context), context)


class OpenExtrapolatedTeacher(WrappedTeacher):
    """Scores with both models and concatenates their hidden states and lm_heads into one."""

    def __init__(
        self, spec: ExtrapolatedTeacher, inner: OpenTeacher, reference: OpenTeacher, context: TeacherContext
    ) -> None:
        self._spec = spec
        super().__init__(inner)
        self._reference = reference
        self._context = context

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self._spec.path

    @property
    def vocabulary(self) -> int:
        """The number of ids common to both."""
        return min(self._inner.vocabulary, self._reference.vocabulary)

    def check(self, student: LanguageModel) -> None:
        """See `OpenTeacher`."""
        self._inner.check(student)
        self._reference.check(student)

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        inner, reference = self._inner.restricted(vocabulary), self._reference.restricted(vocabulary)
        return OpenExtrapolatedTeacher(self._spec, inner, reference, self._context)

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`. At strength 1, the inner teacher's scores."""
        if self._spec.strength == 1.0:
            return self._inner.score(rollout, loss_mask, request)
        both = [one.score(rollout, loss_mask, Request(vocabulary=True)) for one in (self._inner, self._reference)]
        scored = loss_mask
        for scores in both:
            scored = scored if scores.scored is None else scored & scores.scored
        row, step = scored.nonzero(as_tuple=True)
        place = (row, step)
        hidden, head = self._joined(both, place)
        found = score_hidden(hidden, head, rollout.tokens, place, request, self._context.temperature)
        return replace(found, scored=scored)

    def _joined(self, both: list[Scores], place: tuple[Tensor, Tensor]) -> tuple[Tensor, Head]:
        """hidden f32[N, D + D'] and the head [V, D + D'] that gives the mixed logits."""
        shares = (self._spec.strength, 1.0 - self._spec.strength)
        hidden: list[Tensor] = []
        weights: list[Tensor] = []
        bias: Tensor | None = None
        for share, scores in zip(shares, both, strict=True):
            assert scores.hidden is not None
            assert scores.head is not None
            head = scores.head
            if head.softcap is not None:
                raise UserError(f"teacher={self.name}: a model with a softcap on its logits can't be extrapolated")
            hidden.append(share * head.scale * scores.hidden[place].float())
            weights.append(head.weight[: self.vocabulary])
            if head.bias is not None:
                own = share * head.scale * head.bias[: self.vocabulary]
                bias = own if bias is None else bias + own
        return torch.cat(hidden, -1), Head(torch.cat(weights, -1), bias)

    def metrics(self) -> Mapping[str, float]:
        """See `OpenTeacher`."""
        return {**self._reference.metrics(), **self._inner.metrics()}

    def bytes(self) -> int:
        """See `OpenTeacher`."""
        return self._inner.bytes() + self._reference.bytes()

    def after_update(self, step: int) -> None:
        """See `OpenTeacher`."""
        self._inner.after_update(step)
        self._reference.after_update(step)

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`."""
        parts = {"inner": self._inner.state(), "reference": self._reference.state()}
        return {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}

    def restore(self, state: dict[str, Any]) -> None:
        """See `OpenTeacher`."""
        for part, teacher in (("inner", self._inner), ("reference", self._reference)):
            own = {name.removeprefix(f"{part}/"): v for name, v in state.items() if name.startswith(f"{part}/")}
            teacher.restore(own)

    def close(self) -> None:
        """See `OpenTeacher`."""
        self._inner.close()
        self._reference.close()
