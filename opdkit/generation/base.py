"""The protocol of an inference engine: plain lists in, plain lists out."""

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
    """An engine's key-value cache of one conversation, kept between turns so that the history is not recomputed.

    The caller creates one per conversation and discards it with the conversation, or when the weights change.
    An engine may ignore it.
    """

    def __init__(self) -> None:
        self.prefix: Prefix | None = None


@dataclass(frozen=True)
class Ask:
    """One request for a response.

    Attributes:
        prompt_ids: token ids of the prompt.
        seed: random seed of the response, which depends only on its own request and not on the rest of the batch.
        max_new_tokens: the maximum length of the response.
        memory: the cache of the conversation, None outside a conversation.
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
            if the engine does not return it.
        entropy: f32[n] on the CPU, of the same distributions, in nats. None if the engine does not return it.
        stop_reason: "stop" if a stop token was sampled, "length" if the response was cut at the limit.
        engine_log_prob: f32[n] on the CPU, log-prob of each id as computed by a separate inference engine, at the
            sampling temperature and before the filter. None if there is none.
    """

    ids: tuple[int, ...]
    log_prob: Tensor | None
    entropy: Tensor | None
    stop_reason: StopReason
    engine_log_prob: Tensor | None = None


@dataclass(frozen=True)
class Sampling:
    """How tokens are sampled, and which statistics are returned.

    Attributes:
        temperature: divides the logits.
        filter: selects the ids that may be sampled.
        log_prob: whether to return the log-probs of the sampled ids, if the engine can.
        entropy: whether to return the entropies, if the engine can; each costs a pass over the vocabulary.
        stop: stop strings; a response ends with the token that completes one. An engine may continue past it, so
            callers must truncate the text.
    """

    temperature: float
    filter: Sampler
    log_prob: bool = True
    entropy: bool = True
    stop: tuple[str, ...] = ()


class Engine(Protocol):
    """Generates responses with one model."""

    def generate(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order."""
        ...

    def refresh(self, model: LanguageModel, version: int) -> None:
        """Load the weights of `model`, which has made `version` updates."""
        ...

    def rest(self) -> None:
        """Release memory that is not needed until the next `refresh`, before which there are no requests.
        Collective."""
        ...

    def close(self) -> None:
        """Release what the engine holds."""
        ...


class EngineSpec(Protocol):
    """The configuration of an engine. Errors name the keys of `rollout`."""

    @property
    def max_new_tokens(self) -> int:
        """The maximum length of a response, in tokens."""
        ...

    @property
    def max_prompt_tokens(self) -> int:
        """The maximum length of a prompt; longer ones are skipped."""
        ...

    @property
    def correction(self) -> EngineCorrection:
        """The correction for the mismatch between the engine's log-probs and the student's."""
        ...

    def in_process(self) -> EngineSpec:
        """The engine for models other than the student: in this process, with the same limits."""
        ...

    def open(self, model: LanguageModel) -> Engine:
        """An engine that generates with `model`."""
        ...
