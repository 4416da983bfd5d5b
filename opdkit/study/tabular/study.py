"""Runs the tabular study and writes its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opdkit.errors import UserError
from opdkit.study.outcome import Outcome
from opdkit.study.settings import check_gammas, check_increasing, check_seeds, require
from opdkit.study.tabular.findings import Results, claims, tables
from opdkit.study.tabular.measure import Grid, measure
from opdkit.study.workshop import Workshop

LARGEST_ENUMERATION = 100_000
"""Responses. Memory and time grow by a factor of V with each token."""

_LONGEST = 4096


@dataclass(frozen=True)
class TabularStudy:
    """Random softmax students and teachers over `vocabulary` tokens, one world per seed, without sampling.

    horizons: T with all V^T responses enumerated, for shared parameters (a row of logits for each last token) and for
    parameters per context (a row for each prefix). long_horizons: T for the exact recursion, shared parameters.
    gammas: must include 0 and 1. fit_from: first of the long horizons that growth is fitted over. teacher_distance:
    standard deviation of teacher logits minus student logits; the student's have standard deviation 1.
    Raises UserError for a value out of range.
    """

    vocabulary: int
    horizons: list[int]
    long_horizons: list[int]
    gammas: list[float]
    seeds: list[int]
    fit_from: int
    teacher_distance: float

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        check_gammas(self.gammas)
        require({0.0, 1.0} <= set(self.gammas), "gammas", self.gammas, "a list that includes 0 and 1")
        require(self.vocabulary >= 2, "vocabulary", self.vocabulary, "at least 2")
        require(0.0 < self.teacher_distance <= 100.0, "teacher_distance", self.teacher_distance, "above 0, at most 100")
        check_increasing("horizons", self.horizons)
        check_increasing("long_horizons", self.long_horizons)
        _check_enumerable(self.vocabulary, self.horizons)
        require(self.long_horizons[-1] <= _LONGEST, "long_horizons", self.long_horizons, f"at most {_LONGEST}")
        fitted = sum(horizon >= self.fit_from for horizon in self.long_horizons)
        require(fitted >= 2, "fit_from", self.fit_from, "at most the last but one of study.long_horizons")
        require(len(self.horizons) >= 2, "horizons", self.horizons, "at least two, to fit growth")

    @property
    def grid(self) -> Grid:
        """What is computed for each world."""
        return Grid(self.vocabulary, self.horizons, self.long_horizons, self.gammas, self.teacher_distance)

    def work_out(self, workshop: Workshop) -> Outcome:
        from opdkit.study.tabular.figures import draw

        grid = self.grid
        pieces = []
        workshop.reporter.stage(f"{len(self.seeds)} worlds")
        for number, seed in enumerate(self.seeds, 1):
            pieces.append(workshop.piece(f"world-{seed}", lambda seed=seed: measure(seed, grid)))
            workshop.reporter.step(number, len(self.seeds), {})
        results = Results(grid, self.seeds, pieces, self.fit_from)
        return Outcome(
            "Exact tabular OPD", self._opening(), claims(results), tables(results), draw(results), self._limits()
        )

    def _opening(self) -> str:
        return (
            f"{len(self.seeds)} random worlds (seeds {_spelt(self.seeds)}), V = {self.vocabulary}. Student logits are "
            f"N(0, 1), the teacher's are the student's plus {self.teacher_distance:g} · N(0, 1). Float64, no sampling: "
            f"every response is enumerated up to T = {self.horizons[-1]} (with a row of logits for each last token, "
            "*shared*, and with a row for each prefix, *per context*); beyond that, up to "
            f"T = {self.long_horizons[-1]}, a recursion over T gives the same numbers exactly for shared parameters. "
            "g_γ = Σ_t (Σ_{t' ≥ t} γ^{t'−t} r_t') s_t, its cost to go computed by the objective's own function. "
            "Intervals are 95 % t-intervals over worlds."
        )

    def _limits(self) -> list[str]:
        return [
            "The paper's O(T²) and O(T⁴) are upper bounds. A smaller exponent does not contradict them; it is the "
            "growth measured here.",
            "The exponent depends on the world: with a distant teacher the cost to go grows like T (exponent "
            "towards 3 at γ = 1), with a near one at first like √T (towards 2). `study.teacher_distance` sets it.",
            "A softmax policy with a few logits is not a language model: contexts mix immediately here, and parameters "
            "are shared only between equal last tokens.",
        ]


def _check_enumerable(vocabulary: int, horizons: Sequence[int]) -> None:
    for horizon in horizons:
        if vocabulary**horizon > LARGEST_ENUMERATION:
            longest = max((t for t in range(1, horizon) if vocabulary**t <= LARGEST_ENUMERATION), default=0)
            allowed = f"at most {longest}, or study.long_horizons" if longest else "a smaller study.vocabulary"
            raise UserError(
                f"study.horizons={horizon}: {vocabulary}^{horizon} responses (study.vocabulary={vocabulary}) exceed "
                f"the limit of {LARGEST_ENUMERATION} for enumeration; {allowed}"
            )


def _spelt(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
