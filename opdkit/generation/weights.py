"""Writes the student's weights to files, for engines in other processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from opdkit.errors import UserError
from opdkit.generation.vllm_server.opdkit_vllm_plan import MappedFile
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
            self._mapped = _mapped(self.path, _weights(model)) if in_memory else None
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


def _mapped(folder: Path, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor] | None:
    """Views of a safetensors file in shared memory, by name. None unless it holds exactly `weights`, under their names
    and with tied ones once: some architectures are saved in another form."""
    file = MappedFile.of(str(folder))
    if file is None:
        return None
    views = dict(file.tensors())
    if not _fits(weights, views):
        return None
    return views if all(torch.equal(view, weights[name].cpu()) for name, view in views.items()) else None


@torch.no_grad()
def _copied(weights: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> bool:
    """Write the weights into a mapped file. False if they are others than it holds."""
    if not _fits(weights, views):
        return False
    for name, view in views.items():
        view.copy_(weights[name])
    return True


def _fits(weights: Mapping[str, Tensor], views: Mapping[str, Tensor]) -> bool:
    """Whether each view has a weight of its name, shape and dtype."""
    known = {name: (one.shape, one.dtype) for name, one in weights.items()}
    return all(known.get(name) == (view.shape, view.dtype) for name, view in views.items())
