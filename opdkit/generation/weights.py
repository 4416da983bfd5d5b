"""Writes the student's weights to files, for engines in other processes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from torch import Tensor

from opdkit.errors import UserError
from opdkit.models import LanguageModel

_SHARED_MEMORY = Path("/dev/shm")


class WeightsFolder:
    """A Hugging Face folder that is rewritten at the same path for each version of the weights.

    Args:
        place: the folder, None for one in shared memory (or the temporary directory) of this machine.
    """

    def __init__(self, place: str | None) -> None:
        self._own = place is None
        if place is not None:
            self.path = Path(place).absolute()
            try:
                self.path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"rollout.weights_folder={place!r} can't be made: {error.strerror}") from None
        else:
            shared = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
            self.path = Path(tempfile.mkdtemp(prefix="opdkit-weights-", dir=shared))

    def write(self, model: LanguageModel, *, tokenizer: bool = False) -> None:
        """Write the weights, and the tokenizer if a server is to start from the folder. Adapters are merged; sharded
        weights must be gathered (`LanguageModel.whole`)."""
        if model.adapter is not None:
            model.adapter.save_merged(self.path, _weights(model))
        else:
            model.module.save_pretrained(self.path, state_dict=None if model.shards is None else _weights(model))
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
        if self._own:
            shutil.rmtree(self.path, ignore_errors=True)


def _weights(model: LanguageModel) -> dict[str, Tensor]:
    """Parameters and buffers by name. Not `state_dict`, which would reshard gathered weights."""
    module = model.module
    named = (*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False))
    return {name: value.detach() for name, value in named}
