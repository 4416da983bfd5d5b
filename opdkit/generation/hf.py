"""Generation with a transformers model in this process.

opdkit has its own decode loop instead of `generate`: it uses opdkit's samplers, records the log-prob of every sampled
token without a [B, T, V] tensor, drops finished rows from the batch, and draws each row's noise from its own seed, so
that a response does not depend on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch

from opdkit.errors import UserError
from opdkit.generation.base import Ask, Completion, Sampling
from opdkit.generation.correction import EngineCorrection
from opdkit.generation.decoding import decode
from opdkit.models import LanguageModel


@dataclass(frozen=True)
class HFRollout:
    """Settings of generation in this process. batch_size and cache_gib do not affect the responses.

    Attributes:
        max_new_tokens: the maximum length of a response, in tokens.
        max_prompt_tokens: longer prompts are skipped and counted.
        batch_size: rows decoded at once.
        cache_gib: limit on the key-value cache at full length in GiB, met by decoding fewer rows. None for no limit.
    """

    max_new_tokens: int = 128
    max_prompt_tokens: int = 256
    batch_size: int = 64
    cache_gib: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_prompt_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"rollout.{name}={getattr(self, name)} must be at least 1")
        if self.cache_gib is not None and not self.cache_gib > 0:
            raise UserError(f"rollout.cache_gib={self.cache_gib} must be above 0")

    @property
    def correction(self) -> EngineCorrection:
        """None: the engine is the student itself."""
        return EngineCorrection()

    def in_process(self) -> HFRollout:
        """These settings themselves."""
        return self

    def open(self, model: LanguageModel) -> HFEngine:
        """See `EngineSpec`."""
        return HFEngine(model, self.batch_size, self.cache_gib)


class HFEngine:
    """Generates with a model in this process. It shares the model's weights, so a refresh is free."""

    def __init__(self, model: LanguageModel, batch_size: int = 64, cache_gib: float | None = None) -> None:
        self._model = model
        self._batch_size = batch_size
        self._cache_gib = cache_gib

    def generate(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """See `Engine`."""
        self._model.module.eval()
        order = sorted(range(len(asks)), key=lambda i: -len(asks[i].prompt_ids))
        found: dict[int, Completion] = {}
        remember = self._cache_gib is None or self._rows_in(self._cache_gib, asks) >= len(asks)
        start = 0
        while start < len(order):
            chosen = order[start : start + self.rows_at_once(asks[order[start]])]
            start += len(chosen)
            with _inference(self._model):
                decoded = decode(self._model, [asks[i] for i in chosen], sampling, remember)
            found.update(zip(chosen, decoded, strict=True))
        return [found[i] for i in range(len(asks))]

    def rows_at_once(self, longest: Ask) -> int:
        """The number of rows like `longest` to decode together, at least one."""
        if self._cache_gib is None:
            return self._batch_size
        return max(1, min(self._batch_size, self._rows_in(self._cache_gib, [longest])))

    def _rows_in(self, gib: float, asks: Sequence[Ask]) -> int:
        """The number of rows like the longest of `asks` whose key-value cache fits in `gib`."""
        longest = max(len(ask.prompt_ids) + ask.max_new_tokens for ask in asks)
        return int(gib * 2**30) // (longest * self._model.cache_bytes)

    def refresh(self, model: LanguageModel, version: int) -> None:
        """See `Engine`."""
        self._model = model

    def rest(self) -> None:
        """See `Engine`. It holds nothing."""

    def close(self) -> None:
        """See `Engine`."""


def _inference(model: LanguageModel) -> AbstractContextManager[object]:
    """A context for inference with the model's autocast dtype, if it has one."""
    if model.autocast is None:
        return nullcontext()
    return torch.autocast(model.device.type, model.autocast)
