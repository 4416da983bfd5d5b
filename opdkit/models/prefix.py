"""The key-value cache of one sequence, kept so that a longer sequence with the same prefix need not be recomputed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import DynamicCache

from opdkit.models.cache import GrowingLayer

_Layers = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True)
class Prefix:
    """The key-value cache of one sequence.

    Attributes:
        ids: the n token ids, without padding.
        layers: per layer, keys and values [heads, n, width].
    """

    ids: tuple[int, ...]
    layers: _Layers

    def shared(self, ids: Sequence[int]) -> int:
        """The length of the common prefix with `ids`, excluding the last of `ids`, which must be computed anyway."""
        most = min(len(self.ids), len(ids) - 1)
        return next((place for place in range(most) if self.ids[place] != ids[place]), most)

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return sum(part.numel() * part.element_size() for layer in self.layers for part in layer)


def can_keep(cache: DynamicCache) -> bool:
    """Whether a row can be extracted from and inserted into the cache, which needs every key and value of all layers.

    A sliding-window layer has dropped some, and a recurrent state can't be truncated to an earlier token.
    """
    return len(cache.layers) > 0 and all(type(layer) is GrowingLayer for layer in cache.layers)


def take(cache: DynamicCache, row: int, skip: int, ids: tuple[int, ...]) -> Prefix:
    """A copy of the row's cache for `ids`, which follow `skip` padding tokens."""
    stop = skip + len(ids)
    layers = [layer for layer in cache.layers if isinstance(layer, GrowingLayer)]
    return Prefix(ids, tuple(layer.row(row, skip, stop) for layer in layers))


def put(cache: DynamicCache, prefixes: Sequence[Prefix | None], used: Sequence[int], width: int) -> None:
    """Fill an empty cache with the first `used` tokens of each row's prefix, left-padded to `width`."""
    like = next(prefix for prefix in prefixes if prefix is not None)
    for number, (layer, (keys, values)) in enumerate(zip(cache.layers, like.layers, strict=True)):
        assert isinstance(layer, GrowingLayer)  # checked by `can_keep`
        rows = [
            keys.new_zeros((len(prefixes), keys.shape[0], width, keys.shape[2])),
            values.new_zeros((len(prefixes), values.shape[0], width, values.shape[2])),
        ]
        for place, (prefix, count) in enumerate(zip(prefixes, used, strict=True)):
            if prefix is not None and count:
                for target, source in zip(rows, prefix.layers[number], strict=True):
                    target[place, :, width - count :] = source[:, :count]
        layer.update(rows[0], rows[1])


def longest_unread(prompts: Sequence[Sequence[int]], prefixes: Sequence[Prefix | None]) -> int:
    """The number of tokens at the end of every prompt to prefill, such that the rest of each row is in its prefix."""
    unread = [
        len(ids) - (0 if prefix is None else prefix.shared(ids)) for ids, prefix in zip(prompts, prefixes, strict=True)
    ]
    return max(unread)
