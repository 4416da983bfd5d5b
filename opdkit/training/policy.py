"""Defines the student in training: its model, the module that scores with it, and its optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.diagnostics import Watched
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.models.placement import Placement, Whole
from opdkit.training.optimizer import AdamW
from opdkit.world.world import World

Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Policy:
    """What is trained.

    Attributes:
        model: the student.
        scorer: the module whose forward pass returns Scores; what processes wrap.
        optimizer: over the trainable parameters.
        accelerator: placement and precision.
        temperature: divides every logit.
        world: the processes of the run. Each holds the whole student, and they stay the same to the bit, or a part.
        placement: how the student lies in them.
    """

    model: LanguageModel
    scorer: nn.Module
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    temperature: float
    world: World
    placement: Placement = field(default_factory=Whole)

    @classmethod
    def of(
        cls, model: LanguageModel, spec: AdamW, accelerator: Accelerator, temperature: float,
        placement: Placement | None = None,
    ) -> Policy:  # fmt: skip
        """Wrap `model`, which `placement` has placed, for training by the optimiser of `spec`."""
        optimizer = spec.build(p for p in model.own_parameters().values() if p.requires_grad)
        # Not DistributedDataParallel: it divides by the number of processes and waits for each of them in every
        # backward pass. Here the denominator is global, and gradients are added once an update.
        scorer: nn.Module = Scorer(model)
        if model.shards is None:
            scorer = accelerator.prepare_model(scorer, evaluation_mode=True)
        optimizer = accelerator.prepare_optimizer(optimizer)
        return cls(model, scorer, optimizer, accelerator, temperature, World.current(), placement or Whole())

    @property
    def device(self) -> torch.device:
        """Where the student is."""
        return self.accelerator.device

    def sum_gradients(self) -> None:
        """Replace the gradient of every parameter by its sum over the processes. That of a divided one is the sum over
        those of a copy already.

        A parameter that got none in any process keeps none, so that the optimiser passes over it as it does in one
        process.
        """
        if self.model.shards is not None:
            self.model.shards.sum_over_copies()
            return
        if self.world.size == 1:
            return
        parameters = [p for p in self.scorer.parameters() if p.requires_grad]
        reached = self.world.sum(torch.tensor([float(p.grad is not None) for p in parameters])) > 0
        wanted = [p for p, one in zip(parameters, reached.tolist(), strict=True) if one]
        for parameter in wanted:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
        self.world.sum_in_place([p.grad for p in wanted if p.grad is not None])

    def clip(self, limit: float) -> float:
        """Scale the gradients down to the global norm `limit`. The norm before."""
        if self.model.shards is not None:
            return self.model.shards.clip(limit)
        norm = self.accelerator.clip_grad_norm_(self.scorer.parameters(), limit)
        return 0.0 if norm is None else float(norm)

    def watched(self, names: Sequence[str]) -> Watched:
        """The parameters of these names, for their gradient variance."""
        known = self.model.own_parameters()
        own = tuple(known[name] for name in names)
        if self.model.shards is None:
            return Watched(own, own)
        return Watched(tuple(self.model.shards.seen_in_passes(names)), own, self.model.shards.over_parts)

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T], in the run's precision."""
        with self.accelerator.autocast():
            return self.scorer(rollout, loss_mask, request, self.temperature)

    def divided(self) -> Mapping[str, nn.Parameter]:
        """The parameters by name where they are divided among the processes, of a base with adapters theirs alone, and
        none where each process has all."""
        if self.model.shards is None:
            return {}
        base_stays = self.model.adapter is not None
        return {name: p for name, p in self.model.own_parameters().items() if p.requires_grad or not base_stays}

    def gathered(self) -> Weights | None:
        """All weights in the main process where they are divided, for a folder that holds them; None where each process
        has them. Called by all processes."""
        return None if self.model.shards is None else self.model.shards.gathered()

    def save(self, folder: Path, card: str, weights: Weights | None = None) -> None:
        """Write a Hugging Face folder with the tokenizer and a model card; an adapter's where one is trained, and one
        without weights where they are divided among the processes and not given."""
        if self.model.shards is not None and weights is None:
            self.model.module.config.save_pretrained(folder)
        elif self.model.adapter is None:
            self.model.module.save_pretrained(folder, state_dict=weights)
        else:
            self.model.adapter.save(folder, weights)
        self._describe(folder, card)

    def save_final(self, folder: Path, card: str, weights: Weights | None = None) -> None:
        """Write what the run ends with; the student is not used again."""
        if self.model.adapter is None:
            self.save(folder, card, weights)
        else:
            self.model.adapter.save_final(folder, weights)
            self._describe(folder, card)

    def _describe(self, folder: Path, card: str) -> None:
        self.model.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
