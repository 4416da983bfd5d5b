"""Divides a model's weights, gradients and optimiser state among the processes (FSDP2, torch's `fully_shard`)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.heads import Head
from opdkit.models.language_model import LanguageModel, bare_copy
from opdkit.models.layers import layers_of
from opdkit.models.placement import local_part
from opdkit.models.scorer import Request, predicting_states, score_hidden
from opdkit.world.turns import Turns
from opdkit.world.world import World


@dataclass(frozen=True)
class FullyShard:
    """Each process holds a part of every weight; a layer is gathered while it computes.

    Attributes:
        world: the processes.
        device: where the parts lie.
        turns: which the passes of all models take.
        copies: how many groups of processes hold the whole of a model, divided among those of a group (HSDP).
        placed: the models.
    """

    world: World
    device: torch.device
    turns: Turns
    copies: int = 1
    placed: list[DividedModel] = field(default_factory=list["DividedModel"])

    @cached_property
    def mesh(self) -> DeviceMesh:
        """The processes, a row for each copy. Those of a machine are next to each other."""
        shape = (self.copies, self.world.size // self.copies)
        return init_device_mesh(self.device.type, shape, mesh_dim_names=("copies", "parts"))

    @property
    def loads_on(self) -> torch.device:
        """The host's memory: the device never holds a whole model."""
        return torch.device("cpu")

    def place(self, read: Callable[[], LanguageModel], dtype: torch.dtype | None = None) -> LanguageModel:
        """See `Placement`. The processes of a machine read one after another, so that it holds one whole model at a
        time. Raises UserError for an architecture whose layers are not one list."""
        parts: list[tuple[LanguageModel, FSDPModule]] = []
        mesh = self.mesh["parts"]
        turns = int(self.world.max(float(os.environ.get("LOCAL_WORLD_SIZE", self.world.size))))
        for turn in range(turns):
            if turn == int(os.environ.get("LOCAL_RANK", self.world.rank)):
                model = read()
                parts.append((model, _divide(model, mesh, dtype)))
            self.world.any(False)  # nobody reads before the others are here
        ((model, root),) = parts
        shards = DividedModel(model, root, self, dtype)
        self.placed.append(shards)
        return replace(model, shards=shards)

    def together(self) -> AbstractContextManager[object]:
        """See `Placement`."""
        return self.turns

    def rest(self) -> None:
        """See `Placement`."""
        for shards in self.placed:
            shards.rest()


def require_torch() -> None:
    """Raises UserError where torch's `fully_shard` lacks what is used here."""
    needed = ("set_force_sum_reduction_for_comms", "set_reduce_scatter_unused_params", "set_gradient_divide_factor")
    if any(name not in vars(FSDPModule) for name in needed):
        raise UserError(f"shard=fsdp2: torch {torch.__version__} is too old for it; tried with 2.13")


def _divide(model: LanguageModel, mesh: DeviceMesh, dtype: torch.dtype | None) -> FSDPModule:
    """The module around that of `model`, whose weights are divided in place. Gradients are added up in float32."""
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32)
    layers = [
        fully_shard(layer, mesh=mesh, mp_policy=policy) for layer in layers_of(model.module, "shard=fsdp2", model.name)
    ]
    root = fully_shard(_Root(model.module), mesh=mesh, mp_policy=policy)
    for part in (*layers, root):
        part.set_gradient_divide_factor(1.0)  # the denominator of a loss is global, so gradients are added up
        part.set_force_sum_reduction_for_comms(True)
    root.set_reduce_scatter_unused_params(True)  # a process may miss a weight, as an expert that no token chose
    return root


class _Root(nn.Module):
    """The module around all others: whatever is called in its forward pass finds embedding and lm_head gathered."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, work: Callable[[], Scores]) -> Scores:
        return work()


class DividedModel:
    """See `Shards`. Every layer is gathered by itself; embedding, last norm and lm_head are, together, at the root, and
    stay so until `rest`."""

    def __init__(
        self, model: LanguageModel, root: FSDPModule, placement: FullyShard, dtype: torch.dtype | None
    ) -> None:
        self._model, self._root, self._placement, self._dtype = model, root, placement, dtype
        self._layers = [m for m in cast(nn.Module, root).modules() if isinstance(m, FSDPModule) and m is not root]
        self._is_whole = False
        self._scoring = placement.turns.kind(self._score_nothing)
        self._training = placement.turns.kind(self._train_on_nothing)
        self._score_nothing()  # the first pass settles which module is the root
        self.rest()
        self.bytes = sum(local_part(p).numel() * p.element_size() for p in model.module.parameters())

    def scored(self, score: Callable[[], Scores]) -> Scores:
        """See `Shards`."""
        if self._is_whole:
            return score()
        self._placement.turns.take(self._training if torch.is_grad_enabled() else self._scoring)
        return self._through_root(score)

    def _through_root(self, score: Callable[[], Scores]) -> Scores:
        heads: list[Head | None] = []

        def work() -> Scores:  # no lm_head among the outputs: torch would hook its weight at each pass
            scores = score()
            heads.append(scores.head)
            return replace(scores, head=None)

        scores: Scores = cast(nn.Module, self._root)(work)
        return replace(scores, head=heads[0])

    @torch.no_grad()
    def _score_nothing(self) -> None:
        self._through_root(self._one_token)

    @torch.enable_grad()
    def _train_on_nothing(self) -> None:
        log_prob = self._through_root(self._one_token).sampled_log_prob
        assert log_prob is not None
        (0.0 * log_prob.sum()).backward()

    def _one_token(self) -> Scores:
        """The log-prob of one token behind another."""
        model, first = self._model, torch.zeros(1, dtype=torch.long, device=self._placement.device)
        tokens = first[None] + model.pad_id
        hidden = predicting_states(model, tokens, first, first)
        with torch.autocast(hidden.device.type, enabled=False):
            return score_hidden(hidden, model.head(), tokens, (first, first), Request(sampled=True), 1.0)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """See `Shards`."""
        for part in (*self._layers, self._root):
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()
        self._is_whole = True
        try:
            yield
        finally:
            self._is_whole = False
            for part in self._layers:
                part.set_reshard_after_forward(True, recurse=False)
            self.rest()

    def rest(self) -> None:
        """See `Shards`."""
        for part in (*self._layers, self._root):
            part.reshard()

    def named_parts(self) -> Mapping[str, nn.Parameter]:
        """See `Shards`."""
        self.rest()
        return dict(self._model.module.named_parameters())

    def seen_in_passes(self, names: Sequence[str]) -> list[nn.Parameter]:
        """See `Shards`."""
        with self.whole():
            known = dict(self._model.module.named_parameters())
            return [known[name] for name in names]

    @torch.no_grad()
    def gathered(self) -> dict[str, Tensor]:
        """See `Shards`. One weight at a time is whole on the device."""
        self.rest()
        found: dict[str, Tensor] = {}
        seen: dict[int, Tensor] = {}
        adapter = self._model.adapter
        for name, value in self._model.module.state_dict(keep_vars=True).items():
            if adapter is not None and not adapter.merges and not value.requires_grad:
                continue
            if id(value) not in seen:
                whole = value.full_tensor() if isinstance(value, DTensor) else value
                seen[id(value)] = whole.detach().cpu() if self._placement.world.main else torch.empty(0)
            if self._placement.world.main:
                found[name] = seen[id(value)]
        return found

    def sum_over_copies(self) -> None:
        """See `Shards`."""
        place = self._placement
        if place.copies > 1:
            gradients = [local_part(p.grad) for p in self.named_parts().values() if p.grad is not None]
            place.world.sum_in_place([g for g in gradients if g.numel()], place.mesh.get_group("copies"))

    def over_parts(self, value: Tensor) -> Tensor:
        """See `Shards`."""
        return self._placement.world.sum(value) / self._placement.copies

    @torch.no_grad()
    def clip(self, limit: float) -> float:
        """See `Shards`."""
        gradients = [local_part(p.grad) for p in self.named_parts().values() if p.grad is not None]
        own = sum((g.double().square().sum().cpu() for g in gradients), torch.zeros((), dtype=torch.float64))
        norm = math.sqrt(float(self.over_parts(own)))
        for gradient in gradients:
            gradient.mul_(min(1.0, limit / (norm + 1e-6)))
        return norm

    @torch.no_grad()
    def copied(self, model: LanguageModel) -> LanguageModel:
        """See `Shards`."""

        def bare() -> LanguageModel:
            module = bare_copy(model.module)
            adapter = None if model.adapter is None else model.adapter.around(module)
            return replace(model, module=module.requires_grad_(False), adapter=adapter, shards=None)

        placed = self._placement.place(bare, self._dtype)
        assert placed.shards is not None
        for own, other in zip(placed.shards.named_parts().values(), self.named_parts().values(), strict=True):
            local_part(own).copy_(local_part(other))
        for own, other in zip(placed.module.buffers(), model.module.buffers(), strict=True):
            own.copy_(other)
        return placed
