"""Writes the student's weights to files, for engines in other processes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opdkit.errors import UserError
from opdkit.models import LanguageModel
from opdkit.temporary import TemporaryFolder

_SHARED_MEMORY = Path("/dev/shm")


class WeightsFolder:
    """A Hugging Face folder that is rewritten at the same path for each version of the weights.

    Args:
        place: the folder, None for one in shared memory (or the temporary directory) of this machine.
    """

    def __init__(self, place: str | None) -> None:
        self._temporary: TemporaryFolder | None = None
        if place is not None:
            self.path = Path(place).absolute()
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"rollout.weights_folder={place!r} can't be made: {error.strerror}") from None
        else:
            shared = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
            self._temporary = TemporaryFolder("opdkit-weights-", shared)
            self.path = self._temporary.path
        self._mapped: Mapping[str, Tensor] | None = None

    def write(self, model: LanguageModel, *, tokenizer: bool = False) -> None:
        """Write the weights, and the tokenizer if a server is to start from the folder. Adapters are merged; sharded
        weights must be gathered (`LanguageModel.whole`)."""
        if model.adapter is not None:
            model.adapter.save_merged(self.path, _weights(model))
        elif self._mapped is None or not _copied(_weights(model), self._mapped):
            model.module.save_pretrained(self.path, state_dict=None if model.shards is None else _weights(model))
            in_memory = self.path.is_relative_to(_SHARED_MEMORY)
            self._mapped = _mapped(self.path / "model.safetensors", _weights(model)) if in_memory else None
        if tokenizer:
            model.tokenizer.save_pretrained(self.path)

    def write_base(self, model: LanguageModel) -> None:
        """Write the base model without its adapters, and the tokenizer."""
        assert model.adapter is not None
        model.adapter.save_base(self.path, _weights(model))
        model.tokenizer.save_pretrained(self.path)

    def write_adapters(self, model: LanguageModel) -> None:
        """Write only the adapters, into `adapters`."""
        assert model.adapter is not None
        model.adapter.save(self.adapters, None if model.shards is None else _weights(model))

    @property
    def adapters(self) -> Path:
        """The subfolder of adapters."""
        return self.path / "adapters"

    def remove(self) -> None:
        """Delete the folder if this run created it."""
        if self._temporary is not None:
            self._temporary.remove()


def _weights(model: LanguageModel) -> dict[str, Tensor]:
    """Parameters and buffers by name. Not `state_dict`, which would reshard gathered weights."""
    module = model.module
    named = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {name: value.detach() for name, value in named}


def _mapped(file: Path, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """Views of a safetensors file in shared memory, by name. None unless it holds exactly `weights`, under their names
    and with tied ones once: some architectures are saved in another form."""
    if not file.is_file():
        return None
    data = torch.from_file(str(file), shared=True, size=file.stat().st_size, dtype=torch.uint8)
    start = 8 + int.from_bytes(data[:8].numpy().tobytes(), "little")
    described: dict[str, Any] = json.loads(data[8:start].numpy().tobytes())
    described.pop("__metadata__", None)
    views: dict[str, Tensor] = {}
    for name, one in described.items():
        like = weights.get(name)
        first, last = one["data_offsets"]
        if like is None or list(like.shape) != one["shape"] or last - first != like.numel() * like.element_size():
            return None
        views[name] = data[start + first : start + last].view(like.dtype).view(like.shape)
        if not torch.equal(views[name], like.cpu()):
            return None
    return views


@torch.no_grad()
def _copied(weights: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> bool:
    """Write the weights into a mapped file. False if they are others than it holds."""
    known = {name: (one.shape, one.dtype) for name, one in weights.items()}
    if any(known.get(name) != (view.shape, view.dtype) for name, view in views.items()):
        return False
    for name, view in views.items():
        view.copy_(weights[name])
    return True
