"""Bias, variance and signal of gradient estimators, from projected gradients of single rollouts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.table import Table
from opdkit.diagnostics.observation import Finding, cell
from opdkit.diagnostics.total_variance import Split, bias, jackknife, split
from opdkit.errors import UserError


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of the gradient probe.

    A probe generates and scores prompts x rollouts rollouts, with positions + 1 single-row backward passes for each.
    Raises UserError on a value out of range.

    Attributes:
        prompts: number of fixed prompts.
        rollouts: rollouts per prompt.
        positions: number of buckets of the response position.
        projection: dimension of a layer's projected gradient.
    """

    prompts: int = 8
    rollouts: int = 4
    positions: int = 4
    projection: int = 1024

    def __post_init__(self) -> None:
        for name, least in (("prompts", 2), ("rollouts", 2), ("positions", 1), ("projection", 16)):
            if getattr(self, name) < least:
                raise UserError(f"probe.{name}={getattr(self, name)}: must be at least {least}")


@dataclass(frozen=True)
class Probed:
    """Projected gradients, each scaled so that the mean over rollouts estimates the full gradient.

    Attributes:
        objective: f64[P, R, J, layers, size], of the run's objective, by position bucket.
        sequence: f64[P, R, layers, size], of the causal sequence-level estimator on the same rollouts.
        layers: names of the layers.
        tokens: J numbers of unmasked tokens per bucket.
        limits: J + 1 bucket limits.
        rollouts_per_prompt: the run's.
    """

    objective: Tensor
    sequence: Tensor
    layers: Sequence[str]
    tokens: Sequence[int]
    limits: Sequence[int]
    rollouts_per_prompt: int


def report(probed: Probed) -> Finding:
    """Scalars for metrics.jsonl (named in docs/metrics.md) and the tables by layer and by position."""
    whole = probed.objective.sum(2)
    found, apart = split(whole), bias(whole, probed.sequence)
    reference = split(probed.sequence)
    scalars = {
        "signal": found.signal,
        "signal_error": jackknife(whole, lambda part: split(part).signal),
        "prompt_variance": found.prompt,
        "sampling_variance": found.sampling,
        "noise_scale": found.noise_scale(),
        "suggested_batch": _rounded(found.noise_scale(probed.rollouts_per_prompt), probed.rollouts_per_prompt),
        "sequence_variance": reference.prompt + reference.sampling,
        "bias_square": apart.square,
        "bias_error": apart.error,
        "bias_relative": apart.relative,
    }
    return Finding(scalars, (_by_layer(probed, whole), _by_position(probed)))


def _rounded(batch: float, rollouts_per_prompt: int) -> float:
    """A batch size rounded up to whole prompts; nan stays nan."""
    return batch if math.isnan(batch) else rollouts_per_prompt * max(1.0, math.ceil(batch / rollouts_per_prompt))


_COLUMNS = ("signal", "prompt_variance", "sampling_variance", "noise_scale")


def _cells(found: Split) -> list[float | None]:
    values = (found.signal, found.prompt, found.sampling, found.noise_scale())
    return [None if math.isnan(value) else cell(value) for value in values]


def _by_layer(probed: Probed, whole: Tensor) -> Table:
    rows = [
        (layer, *_cells(split(whole[:, :, place])), cell(bias(whole[:, :, place], probed.sequence[:, :, place]).square))
        for place, layer in enumerate(probed.layers)
    ]
    return Table("gradient_by_layer", ("layer", *_COLUMNS, "bias_square"), tuple(rows))


def _by_position(probed: Probed) -> Table:
    """The statistics by position. Parts of one gradient covary, so their variances need not sum to the total."""
    rows = [
        (probed.limits[bucket], probed.limits[bucket + 1], probed.tokens[bucket],
         *_cells(split(probed.objective[:, :, bucket])))
        for bucket in range(len(probed.tokens))
    ]  # fmt: skip
    return Table("gradient_by_position", ("start", "stop", "tokens", *_COLUMNS), tuple(rows))


def position_limits(loss_mask: Tensor, buckets: int) -> list[int]:
    """At most `buckets` + 1 increasing positions from 0 to T, with about equally many unmasked tokens in between.

    loss_mask bool[B, T].
    """
    width = loss_mask.shape[1]
    by_position = loss_mask.sum(0).cumsum(0).double()
    shares = torch.arange(1, buckets, dtype=torch.float64) / buckets * by_position[-1].item()
    inner = (torch.searchsorted(by_position.cpu(), shares) + 1).tolist()
    return sorted({0, width, *(position for position in inner if position < width)})
