"""Defines the student in training: its model, the module that scores with it, and its optimiser."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.training.optimizer import AdamW
from opdkit.world.world import World

# Numbers that are added up over the processes in one call.
_BUCKET = 2**24


@dataclass(frozen=True)
class Policy:
    """What is trained.

    Attributes:
        model: the student.
        scorer: the module whose forward pass returns Scores; what processes wrap.
        optimizer: over the trainable parameters.
        accelerator: placement and precision.
        temperature: divides every logit.
        world: the processes of the run. Each holds the whole student, and they stay the same to the bit.
    """

    model: LanguageModel
    scorer: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    temperature: float
    world: World

    @classmethod
    def of(cls, model: LanguageModel, spec: AdamW, accelerator: Accelerator, temperature: float) -> Policy:
        """Wrap `model` for training by the optimiser of `spec`."""
        optimizer = spec.build(p for p in model.module.parameters() if p.requires_grad)
        # Not DistributedDataParallel: it divides by the number of processes and waits for each of them in every
        # backward pass. Here the denominator is global, and gradients are added once an update.
        scorer = accelerator.prepare_model(Scorer(model), evaluation_mode=True)
        return cls(
            model, scorer, accelerator.prepare_optimizer(optimizer), accelerator, temperature, World.current()
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        return self.accelerator.device

    def sum_gradients(self) -> None:
        """Replace the gradient of every parameter by its sum over the processes.

        A parameter that got none in any process keeps none, so that the optimiser passes over it as it does in one
        process.
        """
        if self.world.size == 1:
            return
        parameters = [p for p in self.scorer.parameters() if p.requires_grad]
        reached = self.world.sum(torch.tensor([float(p.grad is not None) for p in parameters])) > 0
        wanted = [p for p, one in zip(parameters, reached.tolist(), strict=True) if one]
        for bucket in _buckets(wanted):
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in bucket])
            parts = self.world.sum(flat).split([p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T], in the run's precision."""
        with self.accelerator.autocast():
            return self.scorer(rollout, loss_mask, request, self.temperature)

    def save(self, folder: Path, card: str) -> None:
        """Write a Hugging Face folder with the tokenizer and a model card; an adapter's where one is trained."""
        if self.model.adapter is None:
            self.model.module.save_pretrained(folder)
        else:
            self.model.adapter.save(folder)
        self._describe(folder, card)

    def save_final(self, folder: Path, card: str) -> None:
        """Write what the run ends with; the student is not used again."""
        if self.model.adapter is None:
            self.model.module.save_pretrained(folder)
        else:
            self.model.adapter.save_final(folder)
        self._describe(folder, card)

    def _describe(self, folder: Path, card: str) -> None:
        self.model.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Consecutive parameters of one dtype, some of them at a time."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        full = sum(p.numel() for p in bucket) + parameter.numel() > _BUCKET
        if bucket and (full or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket
