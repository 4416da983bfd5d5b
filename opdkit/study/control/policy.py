"""Evaluates R small policies at once: one network, R sets of weights, one matrix product."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.seeding import derive_seed
from opdkit.study.control.settings import Body, Learning, Task

INPUTS = 3
LAYERS = 3


@dataclass(frozen=True)
class Policies:
    """weights[l] f32[R, in, out] and biases[l] f32[R, 1, out] of three linear layers; slice r is policy r."""

    body: Body
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.weights, *self.biases]

    def taken(self, index: Tensor) -> Policies:
        """Copies of the policies selected by `index` i64[N], in its order."""
        weights, biases = ([t.detach()[index].clone() for t in group] for group in (self.weights, self.biases))
        return Policies(self.body, tuple(weights), tuple(biases))

    def trained(self) -> Policies:
        """The same tensors with gradients enabled."""
        for tensor in self.tensors:
            tensor.requires_grad_()
        return self

    def hidden(self, observation: Tensor) -> Tensor:
        """The input of the output layer, f32[R, N, hidden]; observation f32[R, N, 3]."""
        bend = torch.tanh if self.body.activation == "tanh" else torch.relu
        state = observation
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            state = bend(torch.baddbmm(bias, state, weight))
        return state

    def output(self, hidden: Tensor) -> Tensor:
        """The output layer's values, f32[R, N, 2]: the mean and the deviation before bounding."""
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1])

    def normal(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of a move, f32[R, N] each."""
        spread = self.body.std_max - self.body.std_min
        return output[..., 0], self.body.std_min + spread * torch.sigmoid(output[..., 1])

    def log_prob(self, output: Tensor, move: Tensor) -> Tensor:
        """log density of `move` f32[R, N], nats per unit of length."""
        mean, std = self.normal(output)
        return -0.5 * ((move - mean) / std).square() - std.log() - 0.5 * math.log(2.0 * math.pi)

    def pack(self) -> dict[str, Tensor]:
        """The tensors by name, for saving."""
        named = {f"weight{i}": t.detach() for i, t in enumerate(self.weights)}
        return named | {f"bias{i}": t.detach() for i, t in enumerate(self.biases)}


def unpack(body: Body, piece: Mapping[str, Tensor]) -> Policies:
    """The inverse of `Policies.pack`."""
    weights, biases = (tuple(piece[f"{kind}{i}"] for i in range(LAYERS)) for kind in ("weight", "bias"))
    return Policies(body, weights, biases)


def initial(body: Body, seeds: Sequence[int], purpose: str) -> Policies:
    """A new policy for each seed: uniform within 1 / sqrt(inputs), as torch initialises linear layers."""
    sizes = (INPUTS, body.hidden, body.hidden, 2)
    weights: list[list[Tensor]] = [[] for _ in range(LAYERS)]
    biases: list[list[Tensor]] = [[] for _ in range(LAYERS)]
    for seed in seeds:
        source = torch.Generator().manual_seed(derive_seed(seed, "control", purpose, "weights"))
        for layer, (inner, outer) in enumerate(itertools.pairwise(sizes)):
            limit = 1.0 / math.sqrt(inner)
            weights[layer].append((2.0 * torch.rand(inner, outer, generator=source) - 1.0) * limit)
            biases[layer].append((2.0 * torch.rand(1, outer, generator=source) - 1.0) * limit)
    return Policies(body, tuple(map(torch.stack, weights)), tuple(map(torch.stack, biases)))


def optimizer(learning: Learning, policies: Policies) -> torch.optim.Optimizer:
    """Both optimisers are elementwise, so stacked policies learn as they would separately."""
    kind = torch.optim.Adam if learning.optimizer == "adam" else torch.optim.SGD
    return kind(policies.tensors, lr=learning.lr)


@dataclass(frozen=True)
class Walk:
    """Episodes of R policies. position f32[R, B, T + 1], the start included; move f32[R, B, T];
    observation f32[R, B, T, 3]: task, position, time / T."""

    position: Tensor
    move: Tensor
    observation: Tensor


@torch.no_grad()
def walk(policies: Policies, tasks: Sequence[Task], noise: Tensor) -> Walk:
    """Policy r walks task r. noise f32[R, B, T], standard normal: the same noise gives the same walk."""
    runs, count, steps = noise.shape
    identifier = torch.tensor([task.identifier for task in tasks])[:, None].expand(runs, count)
    position = torch.tensor([task.start for task in tasks])[:, None].expand(runs, count)
    positions, moves, observations = [position], [], []
    for step in range(steps):
        time = torch.full_like(position, step / steps)
        observation = torch.stack([identifier, position, time], dim=-1)
        mean, std = policies.normal(policies.output(policies.hidden(observation)))
        move = mean + std * noise[..., step]
        position = position + move
        positions.append(position)
        moves.append(move)
        observations.append(observation)
    return Walk(torch.stack(positions, 2), torch.stack(moves, 2), torch.stack(observations, 2))


def normal_noise(seeds: Sequence[int], purpose: str, iteration: int, count: int, steps: int) -> Tensor:
    """f32[seeds, count, steps]. Each seed's noise depends only on the seed, purpose and iteration."""
    rows = [
        torch.randn(count, steps, generator=torch.Generator().manual_seed(derive_seed(seed, purpose, iteration)))
        for seed in seeds
    ]
    return torch.stack(rows)
