"""Derives tables and verdicts from the worlds' numbers; thresholds were set before the first full run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from opdkit.intervals import t_interval
from opdkit.study.outcome import Cell, Claim, Table
from opdkit.study.tabular.measure import LONG, PARTS, Grid, Measured, unpack

LARGEST_DIFFERENCE = 1e-8
LARGEST_DISAGREEMENT = 1e-9
SMALLEST_BIAS = 1e-6
BATCHES = (1, 16, 256, 4096, 65536)


@dataclass(frozen=True)
class Results:
    """All worlds, in the order of their seeds, and the horizons from which growth is fitted."""

    grid: Grid
    seeds: Sequence[int]
    pieces: Sequence[Mapping[str, Tensor]]
    fit_from: int

    def part(self, name: str) -> list[Measured]:
        return [unpack(piece, name) for piece in self.pieces]

    def horizons(self, part: str) -> Sequence[int]:
        return self.grid.long_horizons if part == LONG else self.grid.horizons

    def fitted(self, part: str) -> list[int]:
        """Indices of the horizons that growth is fitted over: from `fit_from`, or the upper half if enumerated."""
        horizons = self.horizons(part)
        least = self.fit_from if part == LONG else max(horizons) // 2
        return [index for index, horizon in enumerate(horizons) if horizon >= least]

    def exponents(self, part: str, gamma: float) -> list[float]:
        """The growth exponent of the variance in each world: the slope of log Var on log T, by least squares."""
        column, indices = list(self.grid.gammas).index(gamma), self.fitted(part)
        log_horizons = np.log([self.horizons(part)[index] for index in indices])
        log_variances = [world.variance[indices, column].log().numpy() for world in self.part(part)]
        return [float(np.polyfit(log_horizons, log_variance, 1)[0]) for log_variance in log_variances]


def claims(results: Results) -> list[Claim]:
    """First the mathematical identities, then the paper's claims."""
    return [*_checks(results), _bounds(results), _growth(results), _faster(results), _bias(results), _tighter(results)]


def _checks(results: Results) -> list[Claim]:
    difference = max(float(piece["check/finite_difference"]) for piece in results.pieces)
    recursion = max(float(piece["check/recursion"]) for piece in results.pieces)
    return [
        Claim(
            "E g_seq is the gradient of KL(pi ‖ q) over whole responses",
            f"within {LARGEST_DIFFERENCE:g} of central differences in every world at T ≤ 4",
            f"largest difference {difference:.1e}",
            "holds" if difference <= LARGEST_DIFFERENCE else "fails",
        ),
        Claim(
            "the recursion over T gives what enumeration gives",
            f"variances agree to {LARGEST_DISAGREEMENT:g} in every world, γ and enumerated T",
            f"largest relative difference {recursion:.1e}",
            "holds" if recursion <= LARGEST_DISAGREEMENT else "fails",
        ),
    ]


def _largest_share(results: Results, gamma: float, exponent: int | None) -> float:
    """The largest Var / bound over worlds, parts and T; exponent None: the martingale bound, else the paper's."""
    column = list(results.grid.gammas).index(gamma)
    return max(
        float(world.variance[index, column])
        / (world.bounds.martingale(horizon, gamma) if exponent is None else world.bounds.paper(horizon, exponent))
        for part in (*PARTS, LONG)
        for world in results.part(part)
        for index, horizon in enumerate(results.horizons(part))
    )


def _bounds(results: Results) -> Claim:
    token, sequence = _largest_share(results, 0.0, 2), _largest_share(results, 1.0, 4)
    return Claim(
        "Var g_tok ≤ (B_r B_s)² T² and Var g_seq ≤ (B_r B_s)² T⁴: upper bounds, not rates",
        "in every world and at every T, with the world's own B_r and B_s",
        f"at most {token:.2g} and {sequence:.2g} of the bound",
        "reproduced" if max(token, sequence) <= 1.0 else "not reproduced",
    )


def _growth(results: Results) -> Claim:
    token = t_interval(results.exponents(LONG, 0.0))
    sequence = t_interval(results.exponents(LONG, 1.0))
    within = token.high <= 2.0 and sequence.high <= 4.0
    near = token.mean <= 2.0 and sequence.mean <= 4.0
    return Claim(
        "the variances grow no faster than T² and T⁴",
        f"the 95 % interval of the fitted exponent over T ≥ {results.fit_from} ends at or below 2 and 4 (partly: "
        "the mean does)",
        f"exponents {token.text()} for g_tok, {sequence.text()} for g_seq",
        "reproduced" if within else ("partly" if near else "not reproduced"),
    )


def _faster(results: Results) -> Claim:
    pairs = zip(results.exponents(LONG, 1.0), results.exponents(LONG, 0.0), strict=True)
    gap = t_interval([sequence - token for sequence, token in pairs])
    shown = gap.low > 0.0
    return Claim(
        "the sequence-level variance grows faster with T than the token-level one",
        "the 95 % interval of the paired difference of exponents lies above 0",
        f"difference {gap.text()}",
        "reproduced" if shown else ("partly" if gap.mean > 0.0 else "not reproduced"),
    )


def _bias(results: Results) -> Claim:
    """Checks gamma = 0 and 1 in every world; in between, the mean over worlds must fall with gamma."""
    relative = _relative_bias(results, LONG)
    longer = [index for index, horizon in enumerate(results.grid.long_horizons) if horizon >= 2]
    token, sequence = _ends(results)
    least = float(relative[:, longer, token].min())
    most = float(relative[:, longer, sequence].max())
    order = sorted(range(len(results.grid.gammas)), key=lambda i: results.grid.gammas[i])
    falls = bool((relative[:, longer][:, :, order].mean(0).diff(dim=1) < 0).all())
    ends = least > SMALLEST_BIAS and most < LARGEST_DISAGREEMENT
    return Claim(
        "γ trades bias for variance: g_tok is biased for the sequence KL, g_seq is not, the bias falls with γ",
        f"|bias| / |∇KL| above {SMALLEST_BIAS:g} at γ = 0 and below {LARGEST_DISAGREEMENT:g} at γ = 1 in every world "
        "at T ≥ 2; its mean over worlds falls from each γ to the next at every T",
        f"at γ = 0 at least {least:.2g}, at γ = 1 at most {most:.1e}; the mean {'falls' if falls else 'does not fall'}",
        "reproduced" if ends and falls else ("partly" if ends else "not reproduced"),
    )


def _ends(results: Results) -> tuple[int, int]:
    gammas = list(results.grid.gammas)
    return gammas.index(0.0), gammas.index(1.0)


def _tighter(results: Results) -> Claim:
    most = max(_largest_share(results, gamma, None) for gamma in results.grid.gammas)
    return Claim(
        "derived here: Var g_γ ≤ (B_r B_s)² T Σ_{t ≤ T} Σ_{j < t} γ^{2j}, that is T² (T + 1) / 2 at γ = 1, so T⁴ is "
        "never reached on policy",
        "in every world, at every T and γ",
        f"at most {most:.2g} of the bound",
        "holds" if most <= 1.0 else "fails",
    )


def _relative_bias(results: Results, part: str) -> Tensor:
    """|bias| / |grad KL|, f64[worlds, T, gammas]."""
    return torch.stack([world.bias / world.gradient[:, None] for world in results.part(part)])


def tables(results: Results) -> dict[str, Table]:
    """Tables by file stem."""
    return {
        "exponents": _exponents(results),
        "least_error": _least_error(results),
        "by_horizon": _by_horizon(results),
        "worlds": _worlds(results),
    }


def _exponents(results: Results) -> Table:
    rows: list[list[Cell]] = []
    for part in (LONG, *PARTS):
        horizons = [results.horizons(part)[index] for index in results.fitted(part)]
        span = f"{horizons[0]} to {horizons[-1]}"
        rows += [
            [part, span, gamma, t_interval(results.exponents(part, gamma)).text()] for gamma in results.grid.gammas
        ]
    columns = ("how, parameters", "T (tokens)", "γ", "exponent of Var g_γ in T (95 % over worlds)")
    return Table("Fitted growth of the variance", columns, rows)


def _least_error(results: Results) -> Table:
    """The gamma whose mini-batch mean has the least relative squared error to grad KL, averaged over worlds."""
    rows: list[list[Cell]] = []
    for index, horizon in enumerate(results.grid.long_horizons):
        errors = [relative_error(results, index, batch) for batch in BATCHES]
        rows.append([horizon, *(results.grid.gammas[int(error.argmin())] for error in errors)])
    columns = ("T (tokens)", *(f"batch {batch}" for batch in BATCHES))
    return Table(
        "The γ with the least mean squared error for the sequence-KL gradient, by batch size (responses)", columns, rows
    )


def relative_error(results: Results, index: int, batch: int) -> Tensor:
    """(|bias|^2 + Var / batch) / |grad KL|^2 by gamma, mean over worlds; index: of a long horizon. f64[gammas]."""
    worlds = results.part(LONG)
    errors = [
        (world.bias[index].square() + world.variance[index] / batch) / world.gradient[index].square()
        for world in worlds
    ]
    return torch.stack(errors).mean(0)


def _by_horizon(results: Results) -> Table:
    rows: list[list[Cell]] = []
    for part in (LONG, *PARTS):
        relative = _relative_bias(results, part)
        variance = torch.stack([world.variance for world in results.part(part)])
        for index, horizon in enumerate(results.horizons(part)):
            for column, gamma in enumerate(results.grid.gammas):
                spread = variance[:, index, column]
                bias = t_interval(relative[:, index, column].tolist())
                geometric = float(spread.log().mean().exp())
                rows.append([part, horizon, gamma, bias.mean, bias.low, bias.high, geometric])
    columns = ("how, parameters", "T (tokens)", "γ", "|bias| / |∇KL|", "low 95 %", "high 95 %",
               "geometric mean of Var g_γ (nats²)")  # fmt: skip
    return Table("Bias and variance by horizon, over worlds", columns, rows, shown=False)


def _worlds(results: Results) -> Table:
    rows: list[list[Cell]] = []
    for part in (LONG, *PARTS):
        for seed, world in zip(results.seeds, results.part(part), strict=True):
            for index, horizon in enumerate(results.horizons(part)):
                for column, gamma in enumerate(results.grid.gammas):
                    bias, variance = float(world.bias[index, column]), float(world.variance[index, column])
                    rows.append([seed, part, horizon, gamma, float(world.gradient[index]), bias, variance])
    columns = ("seed", "how, parameters", "T (tokens)", "γ", "|∇KL| (nats)", "|bias| (nats)", "Var g_γ (nats²)")
    return Table("Every world", columns, rows, shown=False)
