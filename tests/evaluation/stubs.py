"""A source and a model that need no data and no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.evaluation import Answer


@dataclass(frozen=True)
class Doubles:
    """What is twice n? A response is the bare number; "?" is no answer, "slow" times out."""

    size: int = 10
    name: str = "doubles"
    path: str = "none"

    def load(self) -> Sequence[Problem]:
        return [Problem(f"doubles/{n}", (Message("user", f"2 * {n}?"),), str(2 * n)) for n in range(self.size)]

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        special = {"?": Grade.of(False, None, "no_answer"), "slow": Grade.of(False, "slow", "timeout")}
        return [special.get(text, Grade.of(text == gold, text)) for text, gold in pairs]


@dataclass
class Model:
    """Answers from the seed alone; records what it was asked; dies after `dies_after` calls."""

    dies_after: int | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    calls: int = 0

    def __call__(self, problems: Sequence[Problem], seeds: Sequence[int]) -> list[Answer]:
        if self.calls == self.dies_after:
            raise KeyboardInterrupt
        self.calls += 1
        self.asked += [(problem.identifier, seed) for problem, seed in zip(problems, seeds, strict=True)]
        return [self._answer(problem, seed) for problem, seed in zip(problems, seeds, strict=True)]

    def _answer(self, problem: Problem, seed: int) -> Answer:
        text = {0: "?", 1: "slow", 2: "7", 3: "\ud800"}.get(seed % 8, problem.reference)
        return Answer(text, tokens=seed % 5 + 1, truncated=seed % 8 == 0)
