"""Combines several tasks for one student."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from opdkit.errors import UserError

Schedule = Literal["alternating", "mixed"]
Holding = Literal["keep", "swap"]


@dataclass(frozen=True)
class TaskPart:
    """One task of a multi-task run.

    source: problems, or an environment; share: its relative share of the steps (alternating) or of every step (mixed).
    teacher, rollout (its lengths) and benchmark: its own; None inherits the run's.
    """

    source: Any
    share: int = 1
    teacher: Any = None
    rollout: Any = None
    benchmark: Any = None

    def __post_init__(self) -> None:
        if self.share < 1:
            raise UserError(f"share={self.share}: must be at least 1")


@dataclass(frozen=True)
class MultiTask:
    """Tasks by name; the name prefixes a task's metrics.

    schedule: alternating assigns each step to one task in proportion to the shares (as in the paper); mixed divides
    every step's prompts by share. teachers: keep holds all in memory; swap holds one at a time and loads the next from
    disk.
    """

    parts: Mapping[str, TaskPart]
    schedule: Schedule = "alternating"
    teachers: Holding = "keep"
    name: str = "multi"

    def __post_init__(self) -> None:
        if len(self.parts) < 2:
            raise UserError(f"parts has {len(self.parts)} tasks: must have at least 2 (one alone is task=<its name>)")
        for name in self.parts:
            if not re.fullmatch(r"[a-z0-9_]+", str(name)):
                raise UserError(f"parts.{name}: a task's name must be of a-z, 0-9 and _")
        for key, choices in (("schedule", get_args(Schedule)), ("teachers", get_args(Holding))):
            if getattr(self, key) not in choices:
                raise UserError(f"{key}={getattr(self, key)}: must be one of {', '.join(choices)}")

    def turn(self, step: int) -> str:
        """The task that has step `step` (from 0) of an alternating run.

        Each task gets its share of every `sum of shares` steps, spread evenly: the task furthest behind is next.
        """
        shares = {name: part.share for name, part in self.parts.items()}
        total = sum(shares.values())
        credit = dict.fromkeys(shares, 0)
        chosen = ""
        for _ in range(step % total + 1):
            credit = {name: value + shares[name] for name, value in credit.items()}
            chosen = max(credit, key=lambda name: credit[name])
            credit[chosen] -= total
        return chosen

    def split(self, count: int) -> dict[str, int]:
        """Divides `count` prompts by shares (largest remainder method)."""
        total = sum(part.share for part in self.parts.values())
        found = {name: count * part.share // total for name, part in self.parts.items()}
        by_rest = sorted(self.parts, key=lambda name: -(count * self.parts[name].share % total))
        for name in by_rest[: count - sum(found.values())]:
            found[name] += 1
        return found
