"""Benchmarks: problems and the protocol for answering them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.samplers import Greedy, Sampler
from opdkit.tasks import FromFile, ProblemSource


@dataclass(frozen=True)
class Benchmark:
    """Problems of `source`, each answered `n_samples` times.

    name: its name in files and tables, by default the source's name.
    sampler, temperature and max_new_tokens (tokens per response) are the protocol; limit keeps only the first
    problems; pass_at: extra values of k for pass@k besides the powers of two; path replaces the source's own path;
    stop: a response ends before the first of these strings;
    chunk: responses generated between writes to disk, does not change results.
    Raises UserError for values out of range, including a k above n_samples.
    """

    source: ProblemSource
    sampler: Sampler
    name: str = ""
    n_samples: int = 1
    temperature: float = 1.0
    max_new_tokens: int = 512
    limit: int | None = None
    pass_at: Sequence[int] = ()
    path: str | None = None
    chunk: int = 128
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.source.name)
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise UserError(f"benchmark.name={self.name!r}; allowed: letters, digits, and . _ - (files are named so)")
        for key in ("n_samples", "max_new_tokens", "chunk", "limit"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"benchmark.{key}={value}; allowed: 1 or more")
        if not self.temperature > 0:
            raise UserError(
                f"benchmark.temperature={self.temperature}; allowed: above 0 (for greedy, choose sampler greedy)"
            )
        for k in self.pass_at:
            if not 1 <= k <= self.n_samples:
                raise UserError(f"benchmark.pass_at={k} with n_samples={self.n_samples}; allowed: 1 to n_samples")
        if isinstance(self.stop, str) or not all(isinstance(text, str) and text for text in self.stop):
            raise UserError(f"benchmark.stop={self.stop!r}; allowed: a list of strings, each of one sign or more")
        if self.path is not None and not isinstance(self.source, FromFile):
            raise UserError(
                f"benchmark.path={self.path}: the problems of {self.name} are generated, not read from a file"
            )

    @cached_property
    def chosen_source(self) -> ProblemSource:
        """The source, reading from `path` if given."""
        return self.source if self.path is None else dataclasses.replace(self.source, path=self.path)  # pyright: ignore

    def problems(self) -> Sequence[Problem]:
        """The problems, in order. Raises UserError if the source cannot be read."""
        try:
            problems = self.chosen_source.load()
        except UserError as error:  # `path` alone may stand for the source's own
            ours = self.path is not None and str(error).startswith("path=")
            raise UserError(f"benchmark.{'' if ours else 'source.'}{error}") from error
        return problems if self.limit is None else problems[: self.limit]

    def protocol(self) -> dict[str, object]:
        """The sampling protocol as plain values."""
        return {
            "temperature": self.temperature,
            "sampler": describe(self.sampler),
            "max_new_tokens": self.max_new_tokens,
            "limit": self.limit,
            **({"stop": list(self.stop)} if self.stop else {}),
        }


def same_answers(sampler: object, n_samples: int) -> str | None:
    """A warning if several answers per problem are decoded greedily and thus identical, else None."""
    if n_samples == 1 or not isinstance(sampler, Greedy):
        return None
    return (
        f"n_samples={n_samples} with a greedy sampler: the {n_samples} answers to a problem are the same "
        "(set: sampler=top_p of the benchmark, or n_samples=1)"
    )


def describe(value: Any) -> object:
    """A dataclass as its class name and fields, so that equal settings are equal in a file."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields: Mapping[str, Any] = dataclasses.asdict(value)
        return {"name": type(value).__name__, **fields}
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__
