"""Episode benchmarks: games and the protocol for playing them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from opdkit.environments import EnvironmentPool, EnvironmentSource, Episode
from opdkit.errors import UserError
from opdkit.evaluation.benchmark import describe
from opdkit.samplers import Sampler
from opdkit.tasks import FromFile

Baseline = Literal["random", "gold"]


@dataclass(frozen=True)
class EpisodeBenchmark:
    """Episodes of `source`, each played `n_samples` times; `name` is used in files and tables.

    sampler, temperature and max_new_tokens (tokens per turn) are the protocol; limit keeps only the first episodes;
    path replaces the source's own path; baselines are reference policies that `opdkit eval` also plays: random takes
    a random admissible action, gold the game's own solution. places: games played in parallel; chunk: episodes played
    between writes to disk; neither changes results. Raises UserError for values out of range.
    """

    name: str
    source: EnvironmentSource
    sampler: Sampler
    n_samples: int = 1
    temperature: float = 1.0
    max_new_tokens: int = 64
    limit: int | None = None
    path: str | None = None
    baselines: Sequence[Baseline] = get_args(Baseline)
    places: int = 8
    chunk: int = 64

    def __post_init__(self) -> None:
        for key in ("n_samples", "max_new_tokens", "limit", "places", "chunk"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"benchmark.{key}={value}; allowed: 1 or more")
        if not self.temperature > 0:
            raise UserError(
                f"benchmark.temperature={self.temperature}; allowed: above 0 (for greedy, choose sampler greedy)"
            )
        for baseline in self.baselines:
            if baseline not in get_args(Baseline):
                raise UserError(f"benchmark.baselines={baseline}; allowed: {', '.join(get_args(Baseline))}")
        if self.path is not None and not isinstance(self.source, FromFile):
            raise UserError(f"benchmark.path={self.path}: the games of {self.name} come with their package")

    @cached_property
    def chosen_source(self) -> EnvironmentSource:
        """The source, reading from `path` if given."""
        return self.source if self.path is None else dataclasses.replace(self.source, path=self.path)  # pyright: ignore

    def problems(self) -> Sequence[Episode]:
        """The episodes, in order. Raises UserError if they are unavailable."""
        episodes = self.chosen_source.episodes()
        return episodes if self.limit is None else episodes[: self.limit]

    def open_games(self) -> EnvironmentPool:
        """Game slots for the episodes; the caller closes them."""
        wanted = len(self.problems()) * self.n_samples
        return EnvironmentPool(self.chosen_source, min(self.places, max(1, wanted)))

    def protocol(self) -> dict[str, object]:
        """The protocol as plain values."""
        source: Any = self.chosen_source
        return {
            "temperature": self.temperature,
            "sampler": describe(self.sampler),
            "max_new_tokens": self.max_new_tokens,
            "limit": self.limit,
            "source": describe(source),
        }
