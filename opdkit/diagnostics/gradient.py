"""Measures gradient variance over the micro-batches of an update without keeping their gradients."""

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
        passing: as a backward pass sees them, whole in this process.
        summed: as they hold the gradient of the whole update.
        over_parts: adds a number up over the processes that hold a part each of `summed`.
    """

    passing: tuple[nn.Parameter, ...] = ()
    summed: tuple[nn.Parameter, ...] = ()
    over_parts: Callable[[Tensor], Tensor] = _ALONE.sum


class GradientVariance:
    """Watches the gradients that micro-batches add to the parameters of one update.

    With c_m the gradient that micro-batch m adds under the global denominator, g_m = M c_m estimates the
    whole gradient and their mean is g. Since sum_m |g_m - g|^2 = sum_m |g_m|^2 - M |g|^2, only norms are
    kept: a hook on each parameter reads a micro-batch's gradient before it is accumulated.

    Used as a context around the backward passes; `closed` ends a micro-batch; `result` gives the numbers.
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
        """One micro-batch has gone backward."""
        self._micro_batches += 1

    def result(self, world: World = _ALONE) -> dict[str, float]:
        """Over the micro-batches of all processes of `world`, whose gradients have been added up before.

        `grad_variance`: the paper's (1/M) sum_m |g_m - g|^2 (App. E); `grad_snr`: the unbiased estimate of
        the signal |E g|^2 over that of the noise in g, tr Var(g_m) / M; below 0 where noise hides the signal.
        Both are in the units of the squared gradient, and null (nan) for fewer than two micro-batches."""
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
