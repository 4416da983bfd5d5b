"""Rendered prompts and sampled responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from opdkit.data.problem import Problem

StopReason = Literal["stop", "length"]
Author = Literal["student", "teacher", "data"]


@dataclass(frozen=True)
class Prompts:
    """A batch of rendered prompts, padded on the left.

    Attributes:
        ids: i64[B, P].
        attention_mask: bool[B, P], True on the prompt's tokens.
        problems: the B problems.
    """

    ids: Tensor
    attention_mask: Tensor
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Rollout:
    """Responses to a batch of prompts, padded on the right.

    The tokens of a row (sampled_mask | environment_mask) are contiguous, followed by padding. Positions outside
    sampled_mask hold zeros in the float fields, and positions outside both masks hold the padding id.

    Attributes:
        prompts: B prompts.
        tokens: i64[B, T].
        sampled_mask: bool[B, T], True on sampled tokens (the stop token included).
        behaviour_log_prob: f32[B, T], log-prob of each sampled token under the policy that sampled it, at the run's
            temperature and before the sampler's filter.
        entropy: f32[B, T], that policy's entropy in nats. None if it was not requested.
        stop_reason: per row, "stop" if a stop token was sampled, "length" if the length limit cut the response.
        environment_mask: bool[B, T], True on tokens from an environment between the sampled ones, which are context
            for the models and never in the loss. None if there are none.
        author: the source of the tokens. behaviour_log_prob and entropy are the author's.
        policy_version: the student's number of updates when it sampled them, 0 for another author.
        engine_log_prob: f32[B, T], log-prob of each sampled token as computed by a separate inference engine. None
            if there is none.
        scored: whether behaviour_log_prob was computed; it is zeros otherwise.
    """

    prompts: Prompts
    tokens: Tensor
    sampled_mask: Tensor
    behaviour_log_prob: Tensor
    entropy: Tensor | None
    stop_reason: tuple[StopReason, ...]
    environment_mask: Tensor | None = None
    author: Author = "student"
    policy_version: int = 0
    scored: bool = True
    engine_log_prob: Tensor | None = None

    @property
    def attention_mask(self) -> Tensor:
        """bool[B, T], True on all tokens but padding."""
        return self.sampled_mask if self.environment_mask is None else self.sampled_mask | self.environment_mask
