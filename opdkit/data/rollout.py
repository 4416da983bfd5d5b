"""Rendered prompts, and the responses that a policy sampled for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from opdkit.data.problem import Problem

StopReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Prompts:
    """A batch of rendered prompts, padded on the left.

    ids i64[B, P]; mask bool[B, P], True on real tokens; problems, B of them.
    """

    ids: Tensor
    mask: Tensor
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Rollout:
    """What the student wrote, padded on the right.

    tokens i64[B, T]; mask bool[B, T], True on sampled tokens (the stop token included);
    given bool[B, T], True on tokens between them that an environment wrote: the models read them and nothing
    counts them; None where there are none. The tokens of a row stand without a gap: mask | given, then padding.
    behaviour_log_prob f32[B, T], log-prob of each sampled token under the student that wrote it, at
    the run's temperature and before the sampler's filter; entropy f32[B, T], that student's entropy
    in nats; stop_reason, B of them: "stop" where a stop token was sampled, "length" where the limit cut.
    Positions outside the mask hold zeros, and outside mask | given the padding id.
    """

    prompts: Prompts
    tokens: Tensor
    mask: Tensor
    behaviour_log_prob: Tensor
    entropy: Tensor
    stop_reason: tuple[StopReason, ...]
    given: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """bool[B, T], the tokens that the models read."""
        return self.mask if self.given is None else self.mask | self.given
