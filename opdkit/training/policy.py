"""The student in training: its model, scorer module and optimiser."""

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
    """The student, trained by an optimiser.

    Attributes:
        model: the student.
        scorer: the module whose forward pass returns Scores.
        optimizer: optimises the trainable parameters.
        accelerator: device and precision.
        temperature: divides every logit.
        world: the ranks of the run. Each holds the full student, bitwise equal on all, or a shard of it.
        placement: the student's placement on the ranks.
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
        """Prepare `model`, already placed by `placement`, for training with the optimiser of `spec`."""
        optimizer = spec.build(p for p in model.own_parameters().values() if p.requires_grad)
        # Not DistributedDataParallel, which averages over ranks and synchronises in every backward pass. Here the loss
        # has a global denominator, and gradients are summed once per update.
        scorer: nn.Module = Scorer(model)
        if model.shards is None:
            scorer = accelerator.prepare_model(scorer, evaluation_mode=True)
        optimizer = accelerator.prepare_optimizer(optimizer)
        return cls(model, scorer, optimizer, accelerator, temperature, World.current(), placement or Whole())

    @property
    def device(self) -> torch.device:
        """The student's device."""
        return self.accelerator.device

    def sum_gradients(self) -> None:
        """All-reduce (sum) the gradient of every parameter over the ranks. Gradients of a sharded model are already
        summed within a replica.

        A parameter without gradient on all ranks keeps none, so that the optimiser skips it as with a single process.
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
        """Clip the gradients to the global norm `limit`. Returns the norm before clipping."""
        if self.model.shards is not None:
            return self.model.shards.clip(limit)
        norm = self.accelerator.clip_grad_norm_(self.scorer.parameters(), limit)
        return 0.0 if norm is None else float(norm)

    def watched(self, names: Sequence[str]) -> Watched:
        """The parameters of these names, to measure their gradient variance."""
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
        """The sharded parameters by name (only the adapters', if there are any); empty if every rank has the full
        model."""
        if self.model.shards is None:
            return {}
        base_stays = self.model.adapter is not None
        return {name: p for name, p in self.model.own_parameters().items() if p.requires_grad or not base_stays}

    def gathered(self) -> Weights | None:
        """The weights of a sharded student, gathered on rank 0 for saving; None if every rank has them.
        Collective."""
        return None if self.model.shards is None else self.model.shards.gathered()

    def save(self, folder: Path, card: str, weights: Weights | None = None) -> None:
        """Write a Hugging Face folder (or an adapter folder) with the tokenizer and a model card; without weights if
        they are sharded and not given."""
        if self.model.shards is not None and weights is None:
            self.model.module.config.save_pretrained(folder)
        elif self.model.adapter is None:
            self.model.module.save_pretrained(folder, state_dict=weights)
        else:
            self.model.adapter.save(folder, weights)
        self._describe(folder, card)

    def save_final(self, folder: Path, card: str, weights: Weights | None = None) -> None:
        """Write the final checkpoint; the student must not be used afterwards."""
        if self.model.adapter is None:
            self.save(folder, card, weights)
        else:
            self.model.adapter.save_final(folder, weights)
            self._describe(folder, card)

    def _describe(self, folder: Path, card: str) -> None:
        self.model.tokenizer.save_pretrained(folder)
        (folder / "README.md").write_text(card, encoding="utf-8")
