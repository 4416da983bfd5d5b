"""Defines the student in training: its model, the module that scores with it, and its optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.training.optimizer import AdamW


@dataclass(frozen=True)
class Policy:
    """What is trained.

    Attributes:
        model: the student.
        scorer: the module whose forward pass returns Scores; what processes wrap.
        optimizer: over the trainable parameters.
        accelerator: placement and precision.
        temperature: divides every logit.
    """

    model: LanguageModel
    scorer: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    temperature: float

    @classmethod
    def of(cls, model: LanguageModel, spec: AdamW, accelerator: Accelerator, temperature: float) -> Policy:
        """Wrap `model` for training by the optimiser of `spec`."""
        optimizer = spec.build(p for p in model.module.parameters() if p.requires_grad)
        scorer, optimizer = accelerator.prepare(Scorer(model), optimizer)
        return cls(model, scorer, optimizer, accelerator, temperature)

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T], in the run's precision."""
        with self.accelerator.autocast():
            return self.scorer(rollout, loss_mask, request, self.temperature)

    def save(self, folder: Path, card: str) -> None:
        """Write a Hugging Face folder with the tokenizer and a model card."""
        self.model.module.save_pretrained(folder)
        self.model.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
