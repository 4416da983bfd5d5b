"""Step-by-step decoding with a transformers model and its key-value cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from opdkit.data.rollout import Prompts
from opdkit.errors import UserError
from opdkit.models.cache import PAST_NAMES, argument_names, keep_rows, new_cache
from opdkit.models.direct import DirectStep, direct_step
from opdkit.models.language_model import LanguageModel
from opdkit.models.prefix import Prefix, can_keep, longest_unread, put, take


class Decoder:
    """Holds the cache of a batch of prompts and computes the logits of the next tokens.

    Usage: `logits = decoder.start()`, then `logits = decoder.advance(tokens)`; `keep(index)` drops the finished
    rows (or hides them, if the model can't drop rows). Logits are f32[rows, V] over the vocabulary.
    """

    def __init__(self, model: LanguageModel, prompts: Prompts, ahead: int = 0) -> None:
        """ahead: the maximum number of tokens to be appended to the prompts."""
        if model.refusal:
            raise UserError(model.refusal)
        self._model = model
        self._cache = new_cache(model.module, ahead)
        self._names = argument_names(model.module)
        self._attends = not self._names.isdisjoint(PAST_NAMES)
        self._ids = prompts.ids
        self._attention = prompts.attention_mask.long()
        self._prompted = self._attention.sum(dim=1)
        self._position = self._prompted[:, None] - 1
        # If the model can't drop rows, the indices of those still active; the others continue with padding.
        self._rows: Tensor | None = None
        # Computes the steps after the prompts, with a mask of its own. None for models that it can't compute.
        self._direct: DirectStep | None = None

    def start(self, prefixes: Sequence[Prefix | None] = ()) -> Tensor:
        """Prefill the prompts. prefixes: the cached prefix of each row, None for a row without one."""
        positions = (self._attention.cumsum(dim=1) - 1).clamp(min=0)
        ids = self._ids
        if any(prefixes) and self.keeps_prefixes:
            rows = [row[mask].tolist() for row, mask in zip(ids, self._attention.bool(), strict=True)]
            unread = longest_unread(rows, prefixes)
            if (width := ids.shape[1] - unread) > 0:
                put(self._cache, prefixes, [max(0, len(row) - unread) for row in rows], width)
                ids, positions = ids[:, width:], positions[:, width:]
        logits = self._forward(ids, positions)
        if self._model.drops_rows:
            self._direct = direct_step(self._model.module, self._cache, self._attention)
        return logits

    @property
    def keeps_prefixes(self) -> bool:
        """Whether a row's key-value cache can be extracted and inserted into another batch."""
        return self._attends and "position_ids" in self._names and self._model.drops_rows and can_keep(self._cache)

    def prefix(self, row: int, ids: tuple[int, ...]) -> Prefix | None:
        """The cached prefix of `ids`, the row's prompt and tokens so far. None if it can't be extracted."""
        if not self.keeps_prefixes:
            return None
        skip = self._ids.shape[1] - int(self._prompted[row])
        return take(self._cache, row, skip, ids[: self._cache.get_seq_length() - skip])

    def advance(self, tokens: Tensor) -> Tensor:
        """Append tokens i64[rows]. Returns the next logits."""
        if self._rows is not None:
            every = tokens.new_full((len(self._attention),), self._model.pad_id)
            every[self._rows] = tokens
            tokens = every
        self._position = self._position + 1
        if self._direct is not None:
            return self._direct(tokens, self._position)[:, : self._model.vocabulary].float()
        self._attention = torch.cat([self._attention, self._attention.new_ones((len(tokens), 1))], dim=1)
        logits = self._forward(tokens[:, None], self._position)
        return logits if self._rows is None else logits[self._rows]

    def keep(self, index: Tensor) -> None:
        """Keep only the rows in `index` i64[n]."""
        if not self._model.drops_rows:
            self._rows = index if self._rows is None else self._rows[index]
            return
        keep_rows(self._cache, index)
        if self._direct is not None:
            self._direct.keep(index)
        self._attention = self._attention[index]
        self._position = self._position[index]
        self._prompted = self._prompted[index]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        # A model without attention has no past to mask, only padding among the current tokens.
        optional = {
            "attention_mask": self._attention if self._attends else self._attention[:, -ids.shape[1] :],
            "position_ids": positions,
            **dict.fromkeys(PAST_NAMES, self._cache),
            "cache_params": self._cache,
            "logits_to_keep": 1,
        }
        taken = {name: value for name, value in optional.items() if name in self._names}
        answer = self._model.module(input_ids=ids, use_cache=True, **taken)
        return answer.logits[:, -1, : self._model.vocabulary].float()
