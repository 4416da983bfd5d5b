"""In-place weight loading for vLLM's CPU build: records the copies of one ordinary reload and repeats them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# How a layer's weights may be processed after loading: packed by oneDNN or as they are.
_METHODS = ("NoneType", "UnquantizedLinearMethod", "UnquantizedEmbeddingMethod")


@dataclass(frozen=True)
class MappedFile:
    """A safetensors file in shared memory, mapped.

    Attributes:
        data: u8[bytes], the file.
        header: its JSON header, with the name, dtype, shape and offsets of each tensor.
    """

    data: Tensor
    header: bytes

    @classmethod
    def of(cls, folder: str) -> MappedFile | None:
        """None if the folder's weights are not in a single file."""
        path = Path(folder) / "model.safetensors"
        if not path.is_file():
            return None
        with path.open("rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little"))
        return cls(torch.from_file(str(path), shared=True, size=path.stat().st_size, dtype=torch.uint8), header)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Views of the file."""
        from safetensors.torch import _TYPES  # pyright: ignore[reportPrivateUsage]

        described: dict[str, Any] = json.loads(self.header)
        start = 8 + len(self.header)
        for name, one in described.items():
            if name != "__metadata__":
                first, last = one["data_offsets"]
                yield name, self.data[start + first : start + last].view(_TYPES[one["dtype"]]).view(one["shape"])

    def region(self, like: Region) -> Tensor:
        """The view of this file with the geometry of one in a file with the same header."""
        size = self.data.numel() // like.dtype.itemsize * like.dtype.itemsize
        return self.data[:size].view(like.dtype).as_strided(like.size, like.stride, like.offset)


@dataclass(frozen=True)
class Region:
    """The geometry of a view: shape, strides and offset in elements of its storage."""

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, view: Tensor) -> Region:
        return cls(view.dtype, tuple(view.shape), view.stride(), int(view.storage_offset()))


class Recorded(TorchDispatchMode):
    """Records copies from a file into parameters.

    Attributes:
        copies: target storage -> target region -> region of the file.
        other: target storages that were also copied into from elsewhere.
    """

    def __init__(self, file: MappedFile) -> None:
        super().__init__()
        self._source = _storage(file.data)
        self.copies: dict[int, dict[Region, Region]] = {}
        self.other: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.copy_.default:
            target, source = args[:2]
            if _storage(source) == self._source:
                self.copies.setdefault(_storage(target), {})[Region.of(target)] = Region.of(source)
            else:
                self.other.add(_storage(target))
        return func(*args, **(kwargs or {}))


class Plan:
    """The copies that load each layer's weights, with packing where the layer needs it. Built by `planned`."""

    def __init__(self, header: bytes, moves: Mapping[tuple[Any, str], Mapping[Region, Region]]) -> None:
        self.header = header
        self._moves = moves
        self._scratch = torch.empty(0)

    @torch.no_grad()
    def load(self, file: MappedFile, model: nn.Module) -> None:
        """Load the weights of a file with the same header."""
        for (layer, name), copies in self._moves.items():
            live = getattr(layer, name)
            target = live.data if live.numel() else self._room(copies, live.dtype)
            for place, source in copies.items():
                target.as_strided(place.size, place.stride, place.offset).copy_(file.region(source))
            if not live.numel():  # the packed copy is all that the layer keeps
                rows = target.view(-1, next(iter(copies)).size[-1])
                setattr(layer, name, nn.Parameter(rows, requires_grad=False))
                layer.quant_method.process_weights_after_loading(layer)
                setattr(layer, name, live)
        layer: Any
        for layer in model.modules():
            if "cpu_linear" in vars(layer) and layer.weight.numel():
                _pack_when_used(layer)

    def _room(self, copies: Mapping[Region, Region], dtype: torch.dtype) -> Tensor:
        count = sum(_numel(place) for place in copies)
        if self._scratch.numel() < count or self._scratch.dtype != dtype:
            self._scratch = torch.empty(count, dtype=dtype)
        return self._scratch[:count]


def planned(file: MappedFile, model: nn.Module, recorded: Recorded) -> Plan | None:
    """The plan that repeats a recorded reload. None if that reload did more than copy and pack."""
    from vllm.model_executor.model_loader.reload.layerwise import (  # pyright: ignore[reportMissingImports]
        get_layerwise_info,
    )

    moves: dict[tuple[Any, str], dict[Region, Region]] = {}
    for layer in model.modules():
        loadable, _ = get_layerwise_info(layer).restore_metadata
        for name, live in layer.named_parameters(recurse=False):
            shapes = [one for one in (loadable.get(name), live) if one is not None]
            if _storage(shapes[0]) in recorded.other:
                return None
            found = [recorded.copies[_storage(one)] for one in shapes if _storage(one) in recorded.copies]
            if not found:
                continue
            whole = sum(_numel(place) for place in found[0]) == shapes[0].numel() and shapes[0].is_contiguous()
            in_place = (live.shape, live.stride(), live.storage_offset()) == (shapes[0].shape, shapes[0].stride(), 0)
            packed = not live.numel() and whole and shapes[0].dim() == 2
            method = type(getattr(layer, "quant_method", None)).__name__
            if method not in _METHODS or "MLA" in type(layer).__name__ or not (in_place or packed):
                return None
            moves[layer, name] = found[0]
    return Plan(file.header, moves) if sum(map(len, moves.values())) == len(list(file.tensors())) else None


def _pack_when_used(layer: Any) -> None:
    """An embedding is packed only if it serves as lm_head."""

    def first(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer.quant_method.process_weights_after_loading(layer)
        return layer.cpu_linear(x, weight, bias)

    layer.cpu_linear = first


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _numel(place: Region) -> int:
    count = 1
    for one in place.size:
        count *= one
    return count
