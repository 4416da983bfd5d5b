"""A text model in this process: any causal language model that opdkit loads."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from opdkit.errors import UserError
from opdkit.generation import Ask, HFEngine, Sampling
from opdkit.models import LanguageModel, ModelSpec, load
from opdkit.samplers import Ancestral, Greedy
from opdkit.text.base import Chat, TextModel
from opdkit.text.exchanges import ExchangeLog, Reply
from opdkit.text.recorded import RecordedModel


@dataclass(frozen=True, kw_only=True)
class LocalModel(ModelSpec):
    """A causal language model with its chat template. The other fields are those of `ModelSpec`.

    A chat's schema does not constrain decoding: an invalid answer fails when it is parsed.

    Attributes:
        max_new_tokens: maximum tokens of an answer.
        max_prompt_tokens: longer prompts get no answer.
        batch_size: answers generated at a time.
        device: device of the weights; None for the accelerator if available.
    """

    max_new_tokens: int = 2048
    max_prompt_tokens: int = 16384
    batch_size: int = 8
    device: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_new_tokens", "max_prompt_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} must be at least 1")

    def open(self, record: Path | None) -> TextModel:
        """See `TextSpec`. Loads the weights."""
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        try:
            device = torch.device(self.device or accelerator or "cpu")
        except RuntimeError as error:
            raise UserError(f"text.device={self.device!r} is no device: {str(error).splitlines()[0][:200]}") from None
        model = load(self, device, key="text")
        model.module.requires_grad_(False)
        return RecordedModel(LocalWriter(self, model), ExchangeLog(record))


class LocalWriter:
    """A loaded model as a backend."""

    def __init__(self, spec: LocalModel, model: LanguageModel) -> None:
        self._spec = spec
        self._model = model

    @property
    def name(self) -> str:
        """The path given by the user."""
        return self._spec.path

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """See `Backend`. Excludes the batch size, which does not change answers."""
        spec = self._spec
        limits = {"max_new_tokens": spec.max_new_tokens, "max_prompt_tokens": spec.max_prompt_tokens}
        return {"kind": "local", "path": spec.path, "revision": spec.revision, "dtype": spec.dtype, **limits}

    def replies(self, chats: Sequence[Chat]) -> Iterator[tuple[int, Reply]]:
        """See `Backend`."""
        prompts = [self._model.render(chat.messages) for chat in chats]
        by_temperature: dict[float, list[int]] = defaultdict(list)
        for index, (chat, prompt) in enumerate(zip(chats, prompts, strict=True)):
            if len(prompt) > self._spec.max_prompt_tokens:
                reason = f"a prompt of {len(prompt)} tokens, above max_prompt_tokens={self._spec.max_prompt_tokens}"
                yield index, Reply(None, reason, prompt_tokens=0, attempts=0)
            else:
                by_temperature[chat.temperature].append(index)
        for temperature, indices in by_temperature.items():
            for start in range(0, len(indices), self._spec.batch_size):
                batch = indices[start : start + self._spec.batch_size]
                started = time.monotonic()
                answers = write(
                    self._model, self._spec, [prompts[i] for i in batch], [chats[i].seed for i in batch], temperature
                )
                seconds = (time.monotonic() - started) / len(batch)
                for index, (text, length) in zip(batch, answers, strict=True):
                    yield index, Reply(text, None, True, len(prompts[index]), length, seconds)

    def close(self) -> None:
        """See `Backend`."""


def write(
    model: LanguageModel, spec: LocalModel, prompts: Sequence[Sequence[int]], seeds: Sequence[int], temperature: float
) -> list[tuple[str, int]]:
    """One answer and its length in tokens per prompt; temperature 0 is greedy."""
    asks = [Ask(tuple(ids), seed, spec.max_new_tokens) for ids, seed in zip(prompts, seeds, strict=True)]
    how = Ancestral() if temperature > 0 else Greedy()
    sampling = Sampling(temperature or 1.0, how, log_prob=False, entropy=False)
    completions = HFEngine(model, spec.batch_size).generate(asks, sampling)
    return [(model.decode(one.ids), len(one.ids)) for one in completions]
