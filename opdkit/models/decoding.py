"""One decoding step after another of a transformers model, with its key-value cache."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.data.rollout import Prompts
from opdkit.models.cache import keep_rows, new_cache
from opdkit.models.language_model import LanguageModel


class Decoder:
    """Holds the cache of a batch of prompts; gives the next token's logits, row by row.

    Usage: `logits = decoder.start()`, then `logits = decoder.advance(tokens)`; `keep(index)` drops the
    rows that are finished. Logits are f32[rows, V] over the model's vocabulary.
    """

    def __init__(self, model: LanguageModel, prompts: Prompts) -> None:
        self._model = model
        self._cache = new_cache(model.module.config)
        self._ids = prompts.ids
        self._attention = prompts.attention_mask.long()
        self._position = self._attention.sum(dim=1, keepdim=True) - 1

    def start(self) -> Tensor:
        """Read the prompts."""
        positions = (self._attention.cumsum(dim=1) - 1).clamp(min=0)
        return self._forward(self._ids, positions)

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens i64[rows]."""
        self._attention = torch.cat([self._attention, self._attention.new_ones((len(tokens), 1))], dim=1)
        self._position = self._position + 1
        return self._forward(tokens[:, None], self._position)

    def keep(self, index: Tensor) -> None:
        """Go on with the rows in `index` i64[n] alone."""
        keep_rows(self._cache, index)
        self._attention = self._attention[index]
        self._position = self._position[index]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        answer = self._model.module(
            input_ids=ids,
            attention_mask=self._attention,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return answer.logits[:, -1, : self._model.vocabulary].float()
