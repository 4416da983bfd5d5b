"""Random projections of gradients, so that many of them can be stored and compared."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

import torch
from torch import Tensor, nn

from opdkit.seeding import derive_seed

_BLOCK = re.compile(r"\.(?:layers|h|blocks|block)\.(\d+)\.")


def layer_of(name: str) -> str:
    """`layer-03` for a parameter of block 3, else the name of its module (`embed_tokens`, `norm`)."""
    block = _BLOCK.search(f".{name}.")
    if block:
        return f"layer-{int(block[1]):02d}"
    parts = name.split(".")
    return parts[-2] if len(parts) > 1 else parts[0]


class Projection:
    """Projects the gradients of backward passes to `size` numbers per layer, without storing a gradient.

    Coordinate i of a parameter is added to bucket i mod `size` of its layer with a random sign, drawn once from the
    seed. For vectors a, b: E <Pa, Pb> = <a, b> and Var |Pa|^2 <= 2 |a|^4 / size if a's squares are spread evenly over
    the buckets, more otherwise; `error` measures the actual error.
    Memory: one byte per parameter for the signs, 8 `size` bytes per layer. Time: one pass over each gradient.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], size: int, seed: int) -> None:
        self.size = size
        self._parameters = {name: p for name, p in parameters.items() if p.requires_grad}
        self.layers = tuple(dict.fromkeys(layer_of(name) for name in self._parameters))
        self._signs = {name: _signs(p, derive_seed(seed, "projection", name)) for name, p in self._parameters.items()}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._sums: dict[str, Tensor] = {}
        self._projected_square = 0.0
        self._exact_square = 0.0
        self._exact: Tensor | None = None

    def __enter__(self) -> Projection:
        self._handles = [p.register_hook(self._seer(name)) for name, p in self._parameters.items()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _seer(self, name: str) -> Callable[[Tensor], None]:
        layer, signs = layer_of(name), self._signs[name]

        def see(gradient: Tensor) -> None:
            dense = gradient.detach().to_dense() if gradient.is_sparse else gradient.detach()
            flat = dense.flatten() if dense.dtype == torch.float64 else dense.flatten().float()
            square = flat.square().sum().double()
            self._exact = square if self._exact is None else self._exact + square
            padded = nn.functional.pad(flat * signs, (0, -len(flat) % self.size))
            added = padded.view(-1, self.size).sum(0, dtype=torch.float64)
            self._sums[layer] = self._sums[layer] + added if layer in self._sums else added

        return see

    def taken(self) -> Tensor:
        """The projection accumulated since the last call, f64[layers, size], on the host. Resets it."""
        none = torch.zeros(self.size, dtype=torch.float64)
        found = torch.stack([self._sums[layer].cpu() if layer in self._sums else none for layer in self.layers])
        if self._exact is not None:
            self._exact_square += float(self._exact)
            self._projected_square += float(found.square().sum())
        self._sums, self._exact = {}, None
        return found

    @property
    def error(self) -> float:
        """The signed relative error of the projected squared norms, over all calls of `taken` together.

        Valid only with a single backward pass between calls, since the squares of several do not add up.
        """
        return self._projected_square / self._exact_square - 1.0 if self._exact_square > 0.0 else math.nan

    @property
    def expected_error(self) -> float:
        """The relative std of one vector's projected squared norm, sqrt(2 / size), for evenly spread squares."""
        return math.sqrt(2.0 / self.size)


def _signs(parameter: nn.Parameter, seed: int) -> Tensor:
    """i8[numel], +1 or -1."""
    source = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (parameter.numel(),), generator=source, dtype=torch.int8)
    return (2 * bits - 1).to(parameter.device)


def names_of(module: nn.Module, wanted: Iterable[nn.Parameter]) -> dict[str, nn.Parameter]:
    """The parameters of `module` that are among `wanted`, by name."""
    chosen = {id(parameter) for parameter in wanted}
    return {name: p for name, p in module.named_parameters() if id(p) in chosen}
