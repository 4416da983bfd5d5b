"""Measures gradient variance over the micro-batches of an update without storing their gradients."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor, nn

from opdkit.models.placement import local_part
from opdkit.stopwatch import METRICS
from opdkit.world.world import World

_ALONE = World()


@dataclass(frozen=True)
class Watched:
    """Parameters whose gradient variance is measured.

    Attributes:
        passing: the parameters seen by a backward pass, unsharded.
        summed: the parameters that hold the gradient of the whole update, possibly sharded.
        over_parts: sums a value over the ranks that hold the shards of `summed`.
    """

    passing: tuple[nn.Parameter, ...] = ()
    summed: tuple[nn.Parameter, ...] = ()
    over_parts: Callable[[Tensor], Tensor] = _ALONE.sum


class GradientVariance:
    """Records the micro-batch gradients of one update.

    With c_m the gradient contribution of micro-batch m under the global denominator, g_m = M c_m estimates the
    full gradient and their mean is g. Since sum_m |g_m - g|^2 = sum_m |g_m|^2 - M |g|^2, only norms are
    stored: a hook on each parameter reads a micro-batch's gradient before it is accumulated.

    Use as a context around the backward passes, call `closed` after each micro-batch, then `result`.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._square: Tensor | None = None
        self._micro_batches = 0

    def __enter__(self) -> GradientVariance:
        self._handles = [p.register_hook(self._see) for p in self._watched.passing if p.requires_grad]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _see(self, gradient: Tensor) -> None:
        with METRICS:
            square = torch.linalg.vector_norm(gradient.detach(), dtype=_wide(gradient)).square().double()
            self._square = square if self._square is None else self._square + square.to(self._square.device)

    def closed(self) -> None:
        """Mark the end of a micro-batch's backward pass."""
        self._micro_batches += 1

    def result(self, world: World = _ALONE) -> dict[str, float]:
        """The statistics over the micro-batches of all ranks of `world`, after gradients have been all-reduced.

        `grad_variance`: the paper's (1/M) sum_m |g_m - g|^2 (App. E); `grad_snr`: the unbiased estimate of
        the signal |E g|^2 over that of the noise in g, tr Var(g_m) / M; below 0 where noise hides the signal.
        Both are nan (null) for fewer than two micro-batches."""
        own = (self._micro_batches, *((0.0, 0.0) if self._square is None else (1.0, float(self._square))))
        count, seen, total = world.sum(torch.tensor(own, dtype=torch.float64)).tolist()
        if count < 2 or not seen:
            return {"grad_variance": math.nan, "grad_snr": math.nan}
        with METRICS:
            signal = self._square_of_the_whole()
        mean_square = count * total  # (1/M) sum |M c_m|^2
        variance = max(mean_square - signal, 0.0)
        noise = variance / (count - 1)  # the unbiased variance of g_m, over M
        return {"grad_variance": variance, "grad_snr": (signal - noise) / noise if noise > 0 else math.nan}

    def _square_of_the_whole(self) -> float:
        total = torch.zeros((), dtype=torch.float64)
        for parameter in self._watched.summed:
            if parameter.grad is not None:
                gradient = local_part(parameter.grad)
                norm = torch.linalg.vector_norm(gradient, dtype=_wide(gradient))
                total = total + norm.square().double().cpu()
        return float(self._watched.over_parts(total))


def named_subset(names: Iterable[str], pattern: str | None) -> list[str]:
    """The names that match the regular expression `pattern`; all of them for None."""
    wanted = re.compile(pattern) if pattern else None
    return [name for name in names if wanted is None or wanted.search(name)]


def _wide(gradient: Tensor) -> torch.dtype:
    return torch.float64 if gradient.dtype == torch.float64 else torch.float32
