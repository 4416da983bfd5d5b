"""Key-value caches that grow in place, and caches with recurrent states.

transformers' dynamic layer concatenates at every token, which copies the whole cache each time: quadratic in
the response's length. Here a layer has spare capacity and copies only when that is full.
"""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.models.minimax.modeling_minimax import MiniMaxCache

# Spare tokens allocated when a layer grows: at least _LEAST, or _SHARE of its length. The first allocation has room for
# the whole response, up to _MOST_AHEAD, since most responses end long before their limit.
_LEAST, _SHARE, _MOST_AHEAD = 64, 0.25, 512
# Names of the cache argument of attention models; transformers renamed it in 5.24.
PAST_NAMES = ("past_key_values", "cache")


class GrowingLayer(DynamicLayer):
    """A layer whose `keys` and `values` are views of the used part of larger buffers [B, heads, capacity, width]."""

    def __init__(self, ahead: int = 0) -> None:
        super().__init__()
        self._ahead = min(ahead, _MOST_AHEAD)
        self._room: dict[str, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values [B, heads, n, width]. Returns all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._appended("keys", self.keys, key_states)
        self.values = self._appended("values", self.values, value_states)
        return self.keys, self.values

    def _appended(self, name: str, held: Tensor | None, new: Tensor) -> Tensor:
        length = 0 if held is None or held.numel() == 0 else held.shape[-2]
        total = length + new.shape[-2]
        room = self._room.get(name)
        # If `held` was replaced from outside, it is no longer a view of the buffer, which must be reallocated.
        fits = room is not None and room.shape[-2] >= total and held is not None and held.data_ptr() == room.data_ptr()
        if room is None or not fits:
            spare = max(_LEAST, int(total * _SHARE), 0 if length else self._ahead)
            room = new.new_empty((*new.shape[:-2], total + spare, new.shape[-1]))
            if length and held is not None:
                room[..., :length, :] = held
            self._room[name] = room
        room[..., length:total, :] = new
        return room[..., :total, :]

    def row(self, row: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Copies of the keys and values [heads, n, width] of a row's tokens [start, stop)."""
        assert self.keys is not None
        assert self.values is not None
        return self.keys[row, ..., start:stop, :].clone(), self.values[row, ..., start:stop, :].clone()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep only the rows `beam_idx` i64[n], in place if no row moves to a higher index."""
        places = torch.arange(len(beam_idx), device=beam_idx.device)
        if self.keys is None or self.values is None or not self._room or bool((beam_idx < places).any()):
            super().reorder_cache(cast(torch.LongTensor, beam_idx))
            return
        first = int((beam_idx == places).sum()) if bool((beam_idx[1:] > beam_idx[:-1]).all()) else 0
        length = self.keys.shape[-2]
        for name, held in (("keys", self.keys), ("values", self.values)):
            room = self._room[name]
            room[first : len(beam_idx), ..., :length, :] = held.index_select(0, beam_idx[first:])
            self._room[name] = room[: len(beam_idx)]
        self.keys = self._room["keys"][..., :length, :]
        self.values = self._room["values"][..., :length, :]


class LightningCache(MiniMaxCache):
    """MiniMax's cache, with linear-attention states next to the key-value layers.

    transformers takes the cache length from the first layer; if that is a linear one, the length is 0 and the
    left-padding mask is lost at the second token.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer_class_to_replicate = GrowingLayer

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """The number of cached tokens, whichever layer is given."""
        return max((layer.get_seq_length() for layer in self.layers if isinstance(layer, DynamicLayer)), default=0)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Length and offset of the keys and values, including `query_length` new ones."""
        return self.get_seq_length() + query_length, 0

    def reorder_cache(self, beam_idx: Any) -> None:
        """Keep only the rows `beam_idx` i64[n]."""
        super().reorder_cache(beam_idx)
        self.linear_cache = [state[beam_idx] if isinstance(state, Tensor) else state for state in self.linear_cache]


def new_cache(module: Any, ahead: int = 0) -> DynamicCache:
    """An empty cache for `module`; sliding-window and recurrent layers keep transformers' own classes.

    ahead: the maximum number of tokens to be appended after the prompt.
    MiniMax accepts only its own cache class.
    """
    if module.config.get_text_config().model_type == "minimax":
        return LightningCache()
    cache = DynamicCache(config=module.config)
    cache.layers = [GrowingLayer(ahead) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keep_rows(cache: DynamicCache, index: Tensor) -> None:
    """Keep only the rows in `index` i64[n].

    Every layer class supports reordering, which beam search needs: key-value layers, and the states of convolutions,
    linear attention, state spaces, indexers and compressors. Only some support selecting rows.
    """
    with torch.no_grad():
        cache.reorder_cache(cast(torch.LongTensor, index))


def argument_names(module: Any) -> frozenset[str]:
    """The argument names of the module's forward method.

    State-space models call their cache `cache_params`, some older ones take no position ids (ALiBi), and many
    silently accept any other name.
    """
    return frozenset(inspect.signature(module.forward).parameters)
