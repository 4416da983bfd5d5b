"""How much of a response is written in a step, and by whom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from opdkit.errors import UserError
from opdkit.generation import Ask, Completion, Turn
from opdkit.seeding import derive_seed

Shape = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """A number of tokens that goes from `start` to `stop` over `steps` steps, and stays there.

    Attributes:
        start: tokens at the first step.
        stop: tokens at the last step, and from there on.
        steps: from the first to the last.
        shape: linear, or cosine: half a period, flat at both ends.

    Raises UserError on a value out of range.
    """

    start: int
    stop: int
    steps: int
    shape: Shape = "linear"

    def __post_init__(self) -> None:
        if self.start < 0 or self.stop < 0:
            raise UserError(f"start={self.start}, stop={self.stop}: both must be at least 0")
        if self.steps < 1:
            raise UserError(f"steps={self.steps} must be at least 1")
        if self.shape not in ("linear", "cosine"):
            raise UserError(f"shape={self.shape!r} is not one of linear, cosine")

    def at(self, step: int) -> int:
        """Tokens of step `step` (from 0)."""
        done = min(1.0, step / max(1, self.steps - 1))
        part = done if self.shape == "linear" else 0.5 * (1.0 - math.cos(math.pi * done))
        return round(self.start + part * (self.stop - self.start))


@dataclass(frozen=True)
class Writing:
    """What of a response is written.

    Attributes:
        length: the longest response, by step; the engine's own limit holds beside it. None: that limit alone.
        prefix: how many tokens the teacher writes before the student goes on. The models read them, and no loss counts
            them. None: none.
    """

    length: Schedule | None = None
    prefix: Schedule | None = None

    def limit(self, step: int, longest: int) -> int:
        """The longest response of step `step`, at least one token."""
        return longest if self.length is None else max(1, min(longest, self.length.at(step)))

    def prefix_at(self, step: int, longest: int) -> int:
        """The longest prefix of step `step`: it leaves the student a token."""
        return 0 if self.prefix is None else min(self.prefix.at(step), longest - 1)


WHOLE = Writing()
"""All of it, by its author."""


Write = Callable[[Sequence[Ask]], list[Completion]]
"""One completion an ask, in order."""


def behind_prefixes(go_on: Write, begin: Write, asks: Sequence[Ask], tokens: int) -> list[tuple[Turn, ...]]:
    """One row an ask: `begin` writes up to `tokens` tokens, without a stop token, and `go_on` goes on from there."""
    begun = begin([replace(ask, seed=derive_seed(ask.seed, "prefix"), max_new_tokens=tokens) for ask in asks])
    heads = [one.ids[:-1] if one.stop_reason == "stop" else one.ids for one in begun]
    further = [
        Ask((*ask.prompt_ids, *head), ask.seed, ask.max_new_tokens - len(head))
        for ask, head in zip(asks, heads, strict=True)
    ]
    nothing = Completion((), torch.zeros(0), torch.zeros(0), "stop")
    return [
        (Turn(ask.prompt_ids, nothing), Turn(more.prompt_ids, completion))
        for ask, more, completion in zip(asks, further, go_on(further), strict=True)
    ]
