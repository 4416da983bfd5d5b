"""The split of a gradient's variance against every sample there can be."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from opdkit.diagnostics.total_variance import Split, bias, jackknife, split
from opdkit.study.tabular.world import World, draw, log_prob, responses

V, T = 2, 2
EVERY = responses(V, T, "shared")
WORLDS = [draw(seed, V, V + 1, "shared", 1.0) for seed in range(3)]  # three prompts: three teachers and students
N = len(EVERY.tokens)


def gradients(world: World, discount: float) -> Tensor:
    """Gradient of every response's loss, f64[N, rows V], by autograd."""
    student = world.student.clone().requires_grad_()
    found = []
    for index in range(N):
        log_pi = log_prob(student, EVERY)[index]
        ratio = (log_pi - log_prob(world.teacher, EVERY)[index]).detach()
        to_go = torch.stack([sum(discount**u * r for u, r in enumerate(ratio[t:])) for t in range(T)])
        found.append(torch.autograd.grad((to_go * log_pi).sum(), student)[0].flatten())
    return torch.stack(found)


def probabilities(world: World) -> Tensor:
    return log_prob(world.student, EVERY).sum(1).exp()


TABLE = torch.stack([gradients(world, 0.0) for world in WORLDS])  # [prompts, N, P]
WHOLE = torch.stack([gradients(world, 1.0) for world in WORLDS])
WEIGHTS = torch.stack([probabilities(world) for world in WORLDS])


def exact(table: Tensor) -> Split:
    """The law of total variance by enumeration, for a prompt drawn evenly from the three."""
    by_prompt = (WEIGHTS[..., None] * table).sum(1)
    mean = by_prompt.mean(0)
    sampling = (WEIGHTS * (table - by_prompt[:, None]).square().sum(2)).sum(1).mean()
    return Split(float(mean.square().sum()), float((by_prompt - mean).square().sum(1).mean()), float(sampling))


def expectation(statistic) -> list[float]:
    """The mean of a statistic of (table of samples) over every draw of two prompts with two responses each."""
    total = torch.zeros(len(statistic([0, 1], [[0, 1], [2, 3]])), dtype=torch.float64)
    for prompts in itertools.product(range(3), repeat=2):
        for drawn in itertools.product(range(N), repeat=4):
            picked = [list(drawn[:2]), list(drawn[2:])]
            weight = math.prod(float(WEIGHTS[p, i]) for p, pair in zip(prompts, picked, strict=True) for i in pair) / 9
            total += weight * torch.tensor(statistic(list(prompts), picked), dtype=torch.float64)
    return total.tolist()


def sample(table: Tensor, prompts: list[int], picked: list[list[int]]) -> Tensor:
    return torch.stack([table[p, pair] for p, pair in zip(prompts, picked, strict=True)])


def test_every_part_is_unbiased() -> None:
    def parts(prompts: list[int], picked: list[list[int]]) -> list[float]:
        found = split(sample(TABLE, prompts, picked))
        return [found.signal, found.prompt, found.sampling]

    truth = exact(TABLE)
    assert expectation(parts) == pytest.approx([truth.signal, truth.prompt, truth.sampling], rel=1e-9)


def test_bias_is_unbiased() -> None:
    def square(prompts: list[int], picked: list[list[int]]) -> list[float]:
        return [bias(sample(TABLE, prompts, picked), sample(WHOLE, prompts, picked)).square]

    truth = exact(TABLE - WHOLE).signal
    assert truth > 1e-3
    assert expectation(square) == pytest.approx([truth], rel=1e-9)


def test_the_parts_make_the_variance_of_a_batch() -> None:
    """tr Var of the mean of two prompts with two responses each, by enumeration."""

    def moments(prompts: list[int], picked: list[list[int]]) -> list[float]:
        mean = sample(TABLE, prompts, picked).mean((0, 1))
        return [float(mean.square().sum()), *mean.tolist()]

    square, *mean = expectation(moments)
    truth = exact(TABLE)
    assert truth.variance(2, 2) == pytest.approx(square - sum(m**2 for m in mean), rel=1e-9)


def test_noise_scale() -> None:
    found = Split(signal=2.0, prompt=3.0, sampling=5.0)
    assert found.noise_scale() == 4.0
    assert found.noise_scale(rollouts=2) == 5.5
    assert found.variance(5, 2) == pytest.approx(found.signal * found.noise_scale(2) / 10)
    assert math.isnan(Split(-1.0, 3.0, 5.0).noise_scale())


def test_many_samples_find_the_truth_within_the_jackknifes_error() -> None:
    source = torch.Generator().manual_seed(0)
    prompts = torch.randint(0, 3, (300,), generator=source)
    picked = torch.multinomial(WEIGHTS[prompts], 4, replacement=True, generator=source)
    drawn = torch.stack([TABLE[p, rows] for p, rows in zip(prompts.tolist(), picked, strict=True)])
    truth, found = exact(TABLE), split(drawn)
    for name in ("signal", "prompt", "sampling"):
        error = jackknife(drawn, lambda part, name=name: getattr(split(part), name))
        assert abs(getattr(found, name) - getattr(truth, name)) < 4 * error
        assert error < 0.5 * getattr(truth, name)


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = torch.randn(9, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = float(values.std()) / 3
    assert jackknife(values, lambda part: float(part.mean())) == pytest.approx(expected)


def test_too_few() -> None:
    for shape in ((1, 4, 3), (4, 1, 3)):
        with pytest.raises(ValueError, match="at least 2"):
            split(torch.zeros(shape))
    assert math.isnan(jackknife(torch.zeros(2, 2, 3), lambda part: split(part).signal))


def test_an_estimator_has_no_bias_against_itself() -> None:
    drawn = sample(TABLE, [0, 1], [[0, 1], [2, 3]])
    assert bias(drawn, drawn).square == 0.0
    assert bias(drawn + 10.0, drawn).relative > 1.0
