"""Defines the grade that a reward gives a response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Grade:
    """A reward's judgement of one response.

    Attributes:
        reward: what the objective learns from, finite.
        correct: whether the answer is right, None where the reward does not decide that.
        extracted: the answer that was read, None where there was none.
        status: "ok", or why no grade was possible: "no_answer", "too_long", "too_complex", "not_text", "other_turn",
            "timeout", "crashed", "failed_judge".
        parts: named components of the reward, for the metrics.
        counts: False where the reward is unknown, so that the response must not be learnt from by it.
    """

    reward: float
    correct: bool | None = None
    extracted: str | None = None
    status: str = "ok"
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    counts: bool = True

    @classmethod
    def of(cls, correct: bool, extracted: str | None = None, status: str = "ok") -> Grade:
        """A verdict as a grade: reward 1 where `correct`, else 0."""
        return cls(float(correct), correct, extracted, status)
