"""A teacher in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.data.rows import join_scores, rollout_rows
from opdkit.data.scores import Scores
from opdkit.generation import Engine, EngineSpec
from opdkit.models import LanguageModel, ModelSpec, Request, Scorer, load, prove_packing, require_same
from opdkit.models.fingerprint import fingerprint
from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext


@dataclass(frozen=True)
class LocalTeacher(ModelSpec):
    """A causal language model in this process, which can score any ids and the full vocabulary.

    Attributes:
        cpu_offload: whether the layers are kept in CPU memory and moved to the device one at a time, for a teacher
            that does not fit next to the student. The other attributes are those of `ModelSpec`.
    """

    cpu_offload: bool = False

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities()

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. The weights are frozen."""

        def read() -> LanguageModel:
            model = load(self, context.device, key="teacher", offload=self.cpu_offload)
            model.module.requires_grad_(False)
            if context.batch.packed:
                model = prove_packing(model, "teacher")
            return replace(model, autocast=context.autocast)

        model = context.placement.place(read)
        return OpenLocalTeacher(model, context.temperature, context.batch)


class OpenLocalTeacher:
    """A language model that scores in micro-batches, with logits divided by `temperature`."""

    def __init__(self, model: LanguageModel, temperature: float, batch: MicroBatch) -> None:
        self._model = model
        self._temperature = temperature
        self._batch = batch

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self._model.name

    @property
    def tokenizer(self) -> Any:
        """See `OpenTeacher`."""
        return self._model.tokenizer

    @property
    def vocabulary(self) -> int:
        """See `OpenTeacher`."""
        return self._model.vocabulary

    @property
    def stop_ids(self) -> frozenset[int]:
        """See `OpenTeacher`."""
        return self._model.stop_ids

    def check(self, student: LanguageModel) -> None:
        """See `OpenTeacher`."""
        require_same(student.tokenizer, self.tokenizer, (student.name, self.name))

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        return OpenLocalTeacher(self._model.restricted(vocabulary), self._temperature, self._batch)

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`."""
        scorer = Scorer(self._model)

        def score(part: Rollout, mask: Tensor, wanted: Request) -> Scores:
            return scorer(part, mask, wanted, self._temperature)

        return score_in_batches(score, rollout, loss_mask, request, self._batch)

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """See `OpenTeacher`. The engine is in this process, even if the student's is not."""
        return spec.in_process().open(self._model), self._model

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the weights."""
        return fingerprint(self._model)

    @property
    def attention(self) -> str:
        """The attention implementation of the model."""
        return self._model.attention

    def metrics(self) -> Mapping[str, float]:
        """See `OpenTeacher`."""
        return {}

    def bytes(self) -> int:
        """See `OpenTeacher`."""
        return round(self._model.mebibytes * 2**20)

    def after_update(self, step: int) -> None:
        """See `OpenTeacher`."""

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """See `OpenTeacher`."""

    def close(self) -> None:
        """See `OpenTeacher`."""


ScoreRows = Callable[[Rollout, Tensor, Request], Scores]


def score_in_batches(
    score: ScoreRows, rollout: Rollout, loss_mask: Tensor, request: Request, size: MicroBatch
) -> Scores:
    """Scores of the tokens in loss_mask bool[B, T], computed in micro-batches."""
    parts: list[Scores] = []
    for start, stop in size.cuts(rollout):
        part = rollout_rows(rollout, start, stop)
        width = part.tokens.shape[1]
        wanted = request.rows(start, stop, width)
        parts.append(score(part, loss_mask[start:stop, :width], wanted))
    return join_scores(parts, rollout.tokens.shape[1])
