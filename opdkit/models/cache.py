"""A key-value cache that grows in place.

transformers' dynamic layer concatenates at every token, which copies the whole cache each time: quadratic in
the response's length. Here a layer holds room for more tokens than it has and copies only when that is full.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

# Room for new tokens when a layer is copied: at least this many, or this share of what it holds.
_LEAST, _SHARE = 64, 0.25


class GrowingLayer(DynamicLayer):
    """`keys` and `values` are views of the used part of larger tensors [B, heads, room, width]."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._room: dict[str, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values [B, heads, n, width]; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._appended("keys", self.keys, key_states)
        self.values = self._appended("values", self.values, value_states)
        return self.keys, self.values

    def _appended(self, name: str, held: Tensor | None, new: Tensor) -> Tensor:
        length = 0 if held is None or held.numel() == 0 else held.shape[-2]
        total = length + new.shape[-2]
        room = self._room.get(name)
        # Dropped rows leave `held` a tensor of its own: then the room is made anew.
        fits = room is not None and room.shape[-2] >= total and held is not None and held.data_ptr() == room.data_ptr()
        if room is None or not fits:
            spare = max(_LEAST, int(total * _SHARE))
            room = new.new_empty((*new.shape[:-2], total + spare, new.shape[-1]))
            if length and held is not None:
                room[..., :length, :] = held
            self._room[name] = room
        room[..., length:total, :] = new
        return room[..., :total, :]


def new_cache(config: Any) -> DynamicCache:
    """A cache for a model of this config; layers with a window or a state of their own stay transformers'."""
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keep_rows(cache: DynamicCache, index: Tensor) -> None:
    """Go on with the rows in `index` i64[n] alone."""
    with torch.no_grad():
        cache.batch_select_indices(index)
