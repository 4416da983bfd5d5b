"""Generation with a transformers model in this process.

The decode loop is opdkit's own rather than `generate`. A sampler is one of opdkit's choices, every sampled token keeps
its log-prob without a [B, T, V] tensor, finished rows leave the batch, and the noise of a row comes from that row's own
seed, so that a response does not depend on the rows beside it.
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
    """The settings of generation in this process. batch_size and cache_gib change no response.

    Attributes:
        max_new_tokens: the longest response, in tokens.
        max_prompt_tokens: a longer prompt is dropped and counted.
        batch_size: rows that are decoded at once.
        cache_gib: fewer rows where their keys and values would take more GiB at full length. None for no limit.
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
        """None is needed: the engine is the student."""
        return EngineCorrection()

    def in_process(self) -> HFRollout:
        """Itself."""
        return self

    def open(self, model: LanguageModel) -> HFEngine:
        """See `EngineSpec`."""
        return HFEngine(model, self.batch_size, self.cache_gib)


class HFEngine:
    """Writes with a model in this process. It reads the model's weights where they are, so a refresh is free."""

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
        """Rows like `longest` that are decoded together, at least one."""
        if self._cache_gib is None:
            return self._batch_size
        return max(1, min(self._batch_size, self._rows_in(self._cache_gib, [longest])))

    def _rows_in(self, gib: float, asks: Sequence[Ask]) -> int:
        """Rows like the longest of `asks` whose keys and values take `gib` at most."""
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
    """The precision that the model computes in: autocast to bfloat16 where it was loaded for that."""
    if model.autocast is None:
        return nullcontext()
    return torch.autocast(model.device.type, model.autocast)
