"""The grade that a reward assigns to a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PROGRAM_FAULTS = ("wrong_output", "runtime_error", "syntax_error", "time_limit", "memory_limit", "output_limit")
"""Statuses of a program that ran and is wrong."""


@dataclass(frozen=True)
class Grade:
    """A reward's judgement of one response.

    Attributes:
        reward: the scalar used by the objective, finite.
        correct: whether the answer is right, None if the reward does not decide that.
        extracted: the answer extracted from the response, None if there was none.
        status: "ok", or why grading was impossible: "no_answer", "too_long", "too_complex", "not_text", "other_turn",
            "timeout", "crashed", "failed_judge"; or how a program failed (`PROGRAM_FAULTS`).
        parts: named components of the reward, for the metrics.
        counts: False if the reward is unknown and must not be trained on.
    """

    reward: float
    correct: bool | None = None
    extracted: str | None = None
    status: str = "ok"
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    counts: bool = True

    @classmethod
    def of(cls, correct: bool, extracted: str | None = None, status: str = "ok") -> Grade:
        """A grade with reward 1 if `correct`, else 0."""
        return cls(float(correct), correct, extracted, status)


def mean_parts(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each part over the grades that have it."""
    names = dict.fromkeys(name for one in parts for name in one)
    values = {name: [one[name] for one in parts if name in one] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}
