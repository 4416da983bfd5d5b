"""Defines the teacher protocol: what a teacher can give, how it is opened, how it scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from opdkit.data.loss import Needs
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.generation import Engine, EngineSpec
from opdkit.models import LanguageModel, Request
from opdkit.models.placement import Placement, Whole


@dataclass(frozen=True)
class Capabilities:
    """What a teacher can give.

    Attributes:
        sampled: the log-prob of the sampled token.
        own_top_k: its own best ids with their logits.
        given_ids: logits of any ids.
        vocabulary: hidden states and lm_head, for the whole vocabulary.
        own_vocabulary: the same for a vocabulary that is not the student's.
        text: responses of its own.
        reads: what it must be told of a problem beside its chat, by the names of `Problem.text`; `sibling` is another
            response of the same group that is right.
        changes: whether it changes while the student trains, so that it can't be read from disk again.
        logsumexp: of all its logits.
        temperature: the only one at which it knows `sampled` and `logsumexp`; None for any. At others it has logits up
            to a constant alone.
    """

    sampled: bool = True
    own_top_k: bool = True
    given_ids: bool = True
    vocabulary: bool = True
    text: bool = True
    reads: frozenset[str] = frozenset()
    changes: bool = False
    logsumexp: bool = True
    temperature: float | None = None
    own_vocabulary: bool = False

    def require(self, needs: Needs, name: str, temperature: float) -> None:
        """Raise UserError, naming the teacher, where `needs` asks for more at the run's temperature."""
        if needs.teacher is None:
            return
        asked = {
            "sampled": needs.teacher.sampled,
            "own_top_k": needs.support in ("teacher", "union", "intersection"),
            "given_ids": needs.support in ("student", "union", "intersection")
            or (needs.support is not None and needs.include_sampled and not self.sampled),
            "logsumexp": needs.teacher.logsumexp,
            "vocabulary": needs.teacher.vocabulary,
            "own_vocabulary": needs.teacher.own_vocabulary and not self.vocabulary,
        }
        missing = [capability for capability, wanted in asked.items() if wanted and not getattr(self, capability)]
        if missing:
            gives = " (of teacher=retokenized, teacher.mode=merged or position gives it)" * (
                "own_vocabulary" in missing
            )
            raise UserError(f"teacher={name} can't give what the objective needs: {', '.join(missing)}{gives}")
        normalised = needs.teacher.sampled or needs.teacher.logsumexp
        if self.temperature is not None and temperature != self.temperature and normalised:
            raise UserError(
                f"temperature={temperature}: teacher={name} tells log-probs at {self.temperature:g} alone, and the "
                f"objective needs them normalised; allowed: temperature={self.temperature:g}, or an objective that "
                "renormalises inside the teacher's best ids, as objective=topk"
            )


@dataclass(frozen=True)
class TeacherContext:
    """What a teacher may use when it is opened.

    Attributes:
        device: where weights are read to.
        student: the run's student. A teacher that is the student scores with it.
        temperature: divides every logit that the teacher gives.
        batch: what is scored at a time.
        seed: of the run.
        autocast: what the models compute in, None for the dtype of their weights.
        placement: where weights then go.
    """

    device: torch.device | str
    student: LanguageModel
    temperature: float
    batch: MicroBatch
    seed: int = 0
    autocast: torch.dtype | None = None
    placement: Placement = field(default_factory=Whole)


class OpenTeacher(Protocol):
    """A teacher that scores rollouts. No gradient ever flows through it."""

    @property
    def name(self) -> str:
        """What the user typed."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The tokenizer whose ids it scores."""
        ...

    @property
    def vocabulary(self) -> int:
        """How many ids it knows."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end its own responses."""
        ...

    def check(self, student: LanguageModel) -> None:
        """Raise UserError where the student's ids can't be scored."""
        ...

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """The same teacher over the first `vocabulary` ids alone."""
        ...

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T]. Where it can't score them all, `scored` says which it did."""
        ...

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """An engine that writes with this teacher, and its renderer. None where it can't write."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Numbers of the last `score` call, by name below `teacher/`."""
        ...

    def bytes(self) -> int:
        """Memory that the teacher takes in this process now."""
        ...

    def after_update(self, step: int) -> None:
        """Called when the student has made the updates of step `step` (from 0)."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and numbers that a checkpoint must keep, by name. Empty where the teacher never changes."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        ...

    def close(self) -> None:
        """Release what was opened."""
        ...


class Teacher(Protocol):
    """A teacher as it is configured: nothing is loaded yet."""

    @property
    def path(self) -> str:
        """What the user typed, for messages."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can give, known before it is loaded."""
        ...

    def open(self, context: TeacherContext) -> OpenTeacher:
        """Load it. Raises UserError for what can't be read."""
        ...
