"""The teacher protocol: capabilities, opening and scoring."""

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
    """What a teacher can compute.

    Attributes:
        sampled: the log-prob of the sampled token.
        own_top_k: its own top ids with their logits.
        given_ids: logits of given ids.
        vocabulary: hidden states and lm_head, for the full vocabulary.
        own_vocabulary: the same for a vocabulary other than the student's.
        text: responses of its own.
        reads: the privileged texts it needs for each problem, by the names of `Problem.text`; `sibling` is another,
            correct response of the same group.
        changes: whether its weights change during training, so that it can't be reloaded from disk.
        logsumexp: logsumexp of all its logits.
        temperature: the only temperature for `sampled` and `logsumexp`, None for any. At other temperatures its logits
            are known only up to a constant.
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
        """Raises UserError, naming the teacher, if it can't provide `needs` at the run's temperature."""
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
    """The context in which a teacher is opened.

    Attributes:
        device: the device that weights are loaded on.
        student: the run's student, which a self-teacher scores with.
        temperature: divides the teacher's logits.
        batch: the micro-batch size for scoring.
        seed: the run's seed.
        autocast: the models' dtype of computation, None for that of their weights.
        placement: the placement of the weights on the ranks.
    """

    device: torch.device | str
    student: LanguageModel
    temperature: float
    batch: MicroBatch
    seed: int = 0
    autocast: torch.dtype | None = None
    placement: Placement = field(default_factory=Whole)


class OpenTeacher(Protocol):
    """A loaded teacher that scores rollouts, without gradient."""

    @property
    def name(self) -> str:
        """The path or name given by the user."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The tokenizer whose ids it scores."""
        ...

    @property
    def vocabulary(self) -> int:
        """The number of valid ids."""
        ...

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end its own responses."""
        ...

    def check(self, student: LanguageModel) -> None:
        """Raises UserError if the student's ids can't be scored."""
        ...

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """The same teacher restricted to the first `vocabulary` ids."""
        ...

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T]. If some can't be scored, `scored` marks those that were."""
        ...

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """An engine that generates with this teacher, and its renderer. None if it can't generate."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Metrics of the last `score` call, by name under `teacher/`."""
        ...

    def bytes(self) -> int:
        """The teacher's current memory in this process."""
        ...

    def after_update(self, step: int) -> None:
        """Called after the student's updates of step `step` (from 0)."""
        ...

    def state(self) -> dict[str, Any]:
        """Tensors and numbers to save in a checkpoint, by name. Empty if the teacher never changes."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from `state`."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


class Teacher(Protocol):
    """The configuration of a teacher; nothing is loaded yet."""

    @property
    def path(self) -> str:
        """The path or name given by the user, for messages."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """The teacher's capabilities, known before loading."""
        ...

    def open(self, context: TeacherContext) -> OpenTeacher:
        """Load the teacher. Raises UserError if it can't be loaded."""
        ...
