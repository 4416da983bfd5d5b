"""What a reward says of one response."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """A grader's word on one response. `extracted` is the answer it read, None where there was none;
    `status` is "ok", or why no grade was possible ("no_answer", "too_long", "too_complex", "not_text", "other_turn",
    "timeout", "crashed")."""

    correct: bool
    extracted: str | None = None
    status: str = "ok"
