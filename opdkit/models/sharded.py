"""Shards a model's weights, gradients and optimiser state over the ranks (FSDP2, torch's `fully_shard`)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
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
    """Every rank holds a shard of each weight; a layer is all-gathered while it computes.

    Attributes:
        world: the process group.
        device: the device of computation.
        turns: synchronises the passes of all models across ranks.
        copies: the number of model replicas, each sharded over its own group of ranks (HSDP).
        offload: whether shards, their gradients and the optimiser's state are in host memory.
        placed: the models placed so far.
    """

    world: World
    device: torch.device
    turns: Turns
    copies: int = 1
    offload: bool = False
    placed: list[DividedModel] = field(default_factory=list["DividedModel"])

    @cached_property
    def mesh(self) -> DeviceMesh:
        """The device mesh, one row per replica, with the ranks of a machine next to each other."""
        shape = (self.copies, self.world.size // self.copies)
        return init_device_mesh(self.device.type, shape, mesh_dim_names=("copies", "parts"))

    @property
    def loads_on(self) -> torch.device:
        """The CPU: the device never holds a full model."""
        return torch.device("cpu")

    def place(self, read: Callable[[], LanguageModel], dtype: torch.dtype | None = None) -> LanguageModel:
        """See `Placement`. The ranks of a machine load one after another, so that it holds one full model at a time.
        Raises UserError for an architecture whose layers are not in a single list."""
        parts: list[tuple[LanguageModel, FSDPModule]] = []
        mesh = self.mesh["parts"]  # collective, so before the ranks take turns
        turns = int(self.world.max(float(os.environ.get("LOCAL_WORLD_SIZE", self.world.size))))
        for turn in range(turns):
            if turn == int(os.environ.get("LOCAL_RANK", self.world.rank)):
                model = read()
                parts.append((model, self._divide(model, mesh, dtype)))
            self.world.any(False)  # a barrier: no rank loads before the others are here
        ((model, root),) = parts
        shards = DividedModel(model, root, self, dtype)
        self.placed.append(shards)
        return replace(model, shards=shards)

    def _divide(self, model: LanguageModel, mesh: DeviceMesh, dtype: torch.dtype | None) -> FSDPModule:
        """The root module around that of `model`, whose weights are sharded in place. Gradients are reduced in
        float32."""
        shard = partial(
            fully_shard,
            mesh=mesh,
            mp_policy=MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32),
            # Copies from and to pinned memory overlap with computation on a GPU.
            offload_policy=CPUOffloadPolicy(pin_memory=self.device.type == "cuda") if self.offload else OffloadPolicy(),
        )
        layers = [shard(layer) for layer in layers_of(model.module, "shard=fsdp2", model.name)]
        root = shard(_Root(model.module))
        for part in (*layers, root):
            part.set_gradient_divide_factor(1.0)  # the loss has a global denominator, so gradients are summed
            part.set_force_sum_reduction_for_comms(True)
        root.set_reduce_scatter_unused_params(True)  # a rank may not use a weight, as an expert that no token chose
        return root

    def together(self) -> AbstractContextManager[object]:
        """See `Placement`."""
        return self.turns

    def rest(self) -> None:
        """See `Placement`."""
        for shards in self.placed:
            shards.rest()


def require_torch() -> None:
    """Raises UserError if torch's `fully_shard` lacks features used here."""
    needed = ("set_force_sum_reduction_for_comms", "set_reduce_scatter_unused_params", "set_gradient_divide_factor")
    if any(name not in vars(FSDPModule) for name in needed):
        raise UserError(f"shard=fsdp2: torch {torch.__version__} is too old for it; tried with 2.13")


class _Root(nn.Module):
    """The FSDP root module: during its forward pass, embedding and lm_head are gathered."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, work: Callable[[], Scores]) -> Scores:
        return work()


class DividedModel:
    """See `Shards`. Each layer is its own FSDP unit; embedding, last norm and lm_head belong to the root and stay
    gathered until `rest`."""

    def __init__(
        self, model: LanguageModel, root: FSDPModule, placement: FullyShard, dtype: torch.dtype | None
    ) -> None:
        self._model, self._root, self._placement, self._dtype = model, root, placement, dtype
        self._layers = [m for m in cast(nn.Module, root).modules() if isinstance(m, FSDPModule) and m is not root]
        self._is_whole = False
        self._scoring = placement.turns.kind(self._score_nothing)
        self._training = placement.turns.kind(self._train_on_nothing)
        self._score_nothing()  # the first pass determines the FSDP root
        self.rest()
        self.bytes = sum(local_part(p).numel() * p.element_size() for p in model.module.parameters())

    @property
    def device(self) -> torch.device:
        """See `Shards`."""
        return self._placement.device

    def scored(self, score: Callable[[], Scores]) -> Scores:
        """See `Shards`."""
        if self._is_whole:
            return score()
        self._placement.turns.take(self._training if torch.is_grad_enabled() else self._scoring)
        return self._through_root(score)

    def _through_root(self, score: Callable[[], Scores]) -> Scores:
        heads: list[Head | None] = []

        def work() -> Scores:  # keep lm_head out of the outputs: torch would register a hook on its weight at each pass
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
        """The scores of a two-token sequence: the log-prob of the second."""
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
        """See `Shards`. Only one full weight is on the device at a time."""
        self.rest()
        found: dict[str, Tensor] = {}
        seen: dict[int, Tensor] = {}
        adapter = self._model.adapter
        for name, value in self._model.module.state_dict(keep_vars=True).items():
            if adapter is not None and not adapter.merges and not value.requires_grad:
                continue
            if id(value) not in seen:
                whole = cast(DTensor, value.to(self.device)).full_tensor() if isinstance(value, DTensor) else value
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
