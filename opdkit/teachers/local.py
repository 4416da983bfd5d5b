"""A teacher held in this process."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.functional.layout import rows
from opdkit.models import LanguageModel, ModelSpec, Request, Scorer, load


@dataclass(frozen=True)
class LocalTeacher(ModelSpec):
    """A causal language model that scores in process: any ids, and the whole vocabulary.

    Nothing is loaded before `load`.

    Attributes:
        cpu_offload: whether the layers wait in the CPU's memory and come to the device one at a time, for a teacher
            that does not fit beside the student. The other attributes are those of `ModelSpec`.
    """

    cpu_offload: bool = False

    def load(self, device: torch.device | str) -> LoadedTeacher:
        """Read the weights onto `device`, without gradients."""
        model = load(self, device, key="teacher", offload=self.cpu_offload)
        model.module.requires_grad_(False)
        return LoadedTeacher(model)


class LoadedTeacher:
    """A teacher in memory. `model` is what tells its tokenizer and vocabulary."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @property
    def mebibytes(self) -> float:
        """What it takes in memory now."""
        return self.model.mebibytes

    def restricted(self, vocabulary: int) -> LoadedTeacher:
        """The same teacher over the first `vocabulary` ids alone."""
        return LoadedTeacher(self.model.restricted(vocabulary))

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request, temperature: float, batch: int) -> Scores:
        """Scores of the counted tokens, bool[B, T], `batch` rows at a time. No gradient ever flows here."""
        scorer = Scorer(self.model)
        parts: list[Scores] = []
        for start in range(0, len(rollout.tokens), batch):
            part = rows(rollout, start, start + batch)
            width = part.tokens.shape[1]
            wanted = request.rows(start, start + batch, width)
            parts.append(scorer(part, loss_mask[start : start + batch, :width], wanted, temperature))
        return join_scores(parts, rollout.tokens.shape[1])


def join_scores(parts: list[Scores], width: int) -> Scores:
    """Scores of consecutive rows, each [b, t, ...], as one of [B, width, ...], zeros behind."""

    def joined(name: str) -> Tensor | None:
        found = [getattr(part, name) for part in parts]
        if any(value is None for value in found):
            return None
        last = max(value.shape[-1] for value in found)
        return torch.cat([_grow(value, width, last) for value in found])

    fields = {name: joined(name) for name in Scores.tensors()}
    return Scores(**fields, head=parts[0].head, temperature=parts[0].temperature)


def _grow(values: Tensor, width: int, last: int) -> Tensor:
    """Zeros up to `width` response positions and, for support tensors, up to `last` ids."""
    if values.dim() == 3:
        values = torch.nn.functional.pad(values, (0, last - values.shape[-1]))
        return torch.nn.functional.pad(values, (0, 0, 0, width - values.shape[1]))
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))
