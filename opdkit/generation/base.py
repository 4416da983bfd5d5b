"""Defines the protocol of a rollout engine: plain lists in, plain lists out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from opdkit.data.rollout import StopReason
from opdkit.generation.correction import EngineCorrection
from opdkit.models import LanguageModel, Prefix
from opdkit.samplers import Sampler


class Memory:
    """What an engine keeps of one conversation from a turn to the next, so that it does not read the whole again.

    Whoever leads the conversation makes one and drops it with the conversation, at the latest when the weights change.
    An engine may leave it alone.
    """

    def __init__(self) -> None:
        self.prefix: Prefix | None = None


@dataclass(frozen=True)
class Ask:
    """One request for a response.

    Attributes:
        prompt_ids: what the model reads.
        seed: of the response's randomness. A response depends on its own ask and on nothing beside it.
        max_new_tokens: the longest response.
        memory: of the conversation that this is a turn of, None where it is none.
    """

    prompt_ids: tuple[int, ...]
    seed: int
    max_new_tokens: int
    memory: Memory | None = None


@dataclass(frozen=True)
class Completion:
    """One response.

    Attributes:
        ids: the n sampled ids, the stop token included.
        log_prob: f32[n] on the CPU, log-prob of each id at the sampling temperature and before the filter. None
            where the engine does not give it.
        entropy: f32[n] on the CPU, of the same distributions, nats. None where the engine does not give it.
        stop_reason: "stop" where a stop token was sampled, "length" where the limit cut the response.
        engine_log_prob: f32[n] on the CPU, log-prob of each id in the numerics of an engine that is not the student
            itself, at the sampling temperature and before the filter. None where there is none.
    """

    ids: tuple[int, ...]
    log_prob: Tensor | None
    entropy: Tensor | None
    stop_reason: StopReason
    engine_log_prob: Tensor | None = None


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn, and what is told of it.

    Attributes:
        temperature: divides the logits.
        filter: names the ids that may be drawn.
        log_prob: whether the log-probs of the sampled ids are wanted. An engine may leave them out all the same.
        entropy: whether the entropies are wanted, which take a pass over the vocabulary each. An engine may leave them
            out all the same.
        stop: strings, at the first of which a response ends, with the token that completes it. An engine may go on
            behind it: whoever reads the text cuts it.
    """

    temperature: float
    filter: Sampler
    log_prob: bool = True
    entropy: bool = True
    stop: tuple[str, ...] = ()


class Engine(Protocol):
    """Writes responses with one model."""

    def generate(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """One completion an ask, in order."""
        ...

    def refresh(self, model: LanguageModel, version: int) -> None:
        """Take over the weights of `model`, which has made `version` updates."""
        ...

    def rest(self) -> None:
        """Nothing is asked until the next `refresh`: memory that the engine can do without until then is given back.
        Called by all processes of the run."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


class EngineSpec(Protocol):
    """An engine as it is configured. Errors name the keys of `rollout`."""

    @property
    def max_new_tokens(self) -> int:
        """The longest response, in tokens."""
        ...

    @property
    def max_prompt_tokens(self) -> int:
        """A longer prompt is not asked."""
        ...

    @property
    def correction(self) -> EngineCorrection:
        """What is done about log-probs of the engine that are not the student's."""
        ...

    def in_process(self) -> EngineSpec:
        """The engine for other models than the student: in this process, with the same limits."""
        ...

    def open(self, model: LanguageModel) -> Engine:
        """An engine that writes with `model`."""
        ...
