"""Decomposes gradient variance into a part from the prompts and a part from sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Unbiased estimates from R rollouts of each of P prompts, all in the units of the squared gradient.

    signal: |E g|^2; prompt: tr Var_x(E[g | x]); sampling: E_x tr Var(g | x). One rollout of a random prompt has
    tr Var(g) = prompt + sampling (the law of total variance). Estimates of small values may be below 0.
    """

    signal: float
    prompt: float
    sampling: float

    def variance(self, prompts: int, rollouts: int) -> float:
        """tr Var of the mean gradient of `prompts` random prompts with `rollouts` each."""
        return self.prompt / prompts + self.sampling / (prompts * rollouts)

    def noise_scale(self, rollouts: int = 1) -> float:
        """B = tr(Var) / |E g|^2 in rollouts, with `rollouts` per prompt; nan if the estimated signal is not positive.

        With B rollouts a batch's squared noise equals its squared signal. Far below B, doubling the batch halves the
        number of steps; far above it, it saves nothing. McCandlish et al. 2018 (arXiv 1812.06162), eq. 2.7 (B_simple).
        """
        if self.signal <= 0.0:
            return math.nan
        return max(rollouts * self.prompt + self.sampling, 0.0) / self.signal


def split(gradients: Tensor) -> Split:
    """Decompose gradients f64[P, R, ...] of single rollouts, scaled so that their mean estimates the full gradient.

    With g_x the mean of a prompt's R and g the mean of all: sampling = sum |g_xr - g_x|^2 / (P (R - 1)),
    prompt = sum |g_x - g|^2 / (P - 1) - sampling / R, signal = |g|^2 - sum |g_x - g|^2 / (P (P - 1)).
    P and R must be at least 2.
    """
    prompts, rollouts = gradients.shape[:2]
    if prompts < 2 or rollouts < 2:
        raise ValueError(f"{prompts} prompts with {rollouts} rollouts; at least 2 of each are needed")
    flat = gradients.flatten(2)
    by_prompt = flat.mean(1)
    whole = by_prompt.mean(0)
    sampling = float((flat - by_prompt[:, None]).square().sum()) / (prompts * (rollouts - 1))
    between = float((by_prompt - whole).square().sum()) / (prompts - 1)
    return Split(float(whole.square().sum()) - between / prompts, between - sampling / rollouts, sampling)


@dataclass(frozen=True)
class Bias:
    """The difference between the means of two estimators a and b.

    Attributes:
        square: unbiased estimate of |E a - E b|^2.
        relative: its square root over |E b|, 0 if the square is not positive, nan if b's signal is not.
        error: jackknife standard error of the square.
    """

    square: float
    relative: float
    error: float


def bias(estimator: Tensor, reference: Tensor) -> Bias:
    """The bias from both gradients f64[P, R, ...] of the same rollouts, whose common noise cancels."""
    difference = split(estimator - reference).signal
    signal = split(reference).signal
    relative = math.sqrt(max(difference, 0.0) / signal) if signal > 0.0 else math.nan
    return Bias(difference, relative, jackknife(estimator - reference, lambda part: split(part).signal))


def jackknife(gradients: Tensor, statistic: Callable[[Tensor], float]) -> float:
    """The jackknife standard error of `statistic` over prompts; nan for fewer than three.

    Efron and Stein 1981; for a statistic that is approximately linear in the prompts' contributions.
    """
    prompts = len(gradients)
    if prompts < 3:
        return math.nan
    everyone = torch.arange(prompts)
    left = torch.tensor([statistic(gradients[everyone != out]) for out in range(prompts)], dtype=torch.float64)
    return math.sqrt((prompts - 1) / prompts * float((left - left.mean()).square().sum()))
