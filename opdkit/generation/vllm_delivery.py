"""Sends the student's current weights to vLLM servers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Protocol

from opdkit.errors import UserError
from opdkit.generation.weights import WeightsFolder
from opdkit.models import LanguageModel
from opdkit.retrying import LastingError

Call = Callable[[str, str, bytes], bytes]
"""Sends a request to one server: (method, path, body) -> answer."""
# The maximum LoRA ranks supported by vLLM.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class Delivery(Protocol):
    """A way to send weights."""

    def start(self, model: LanguageModel) -> list[str]:
        """Write the folder that a server starts from. Returns the additional options it needs."""
        ...

    def write(self, model: LanguageModel) -> None:
        """Write the files for the servers to load, from gathered weights. Called on rank 0."""
        ...

    def take(self, version: int) -> None:
        """Make `hand_over` and `named` refer to this version of the weights. Called on all ranks."""
        ...

    def hand_over(self, ask: Call) -> None:
        """Make a server load the files. Raises LastingError if it refuses."""
        ...

    def named(self, served: str) -> str:
        """The model name for requests with the current weights. served: the base name on the server."""
        ...


class WholeWeights:
    """Every server loads all weights, with adapters merged.

    Args:
        folder: the folder of the weights.
        method: the worker method that loads them.
    """

    def __init__(self, folder: WeightsFolder, method: str) -> None:
        self._folder = folder
        self._method = method

    def start(self, model: LanguageModel) -> list[str]:
        """See `Delivery`."""
        self._folder.write(model, tokenizer=True)
        return []

    def write(self, model: LanguageModel) -> None:
        """See `Delivery`."""
        self._folder.write(model)

    def take(self, version: int) -> None:
        """See `Delivery`."""

    def hand_over(self, ask: Call) -> None:
        """See `Delivery`."""
        call = {"method": self._method, "kwargs": {"weights_path": str(self._folder.path)}}
        ask("POST", "/collective_rpc", json.dumps(call).encode())

    def named(self, served: str) -> str:
        """See `Delivery`."""
        return served


class AdaptersAlone:
    """The servers keep the base and load low-rank adapters. Each version has its own name: an adapter reloaded under
    the same name would be reloaded for every batch (vLLM 0.32).

    Args:
        folder: the folder of the adapters.
    """

    def __init__(self, folder: WeightsFolder) -> None:
        self._folder = folder
        self._name = self._before = ""

    def start(self, model: LanguageModel) -> list[str]:
        """See `Delivery`. Raises UserError if anything but low-rank adapters is trained."""
        rank = rank_of(model)
        self._folder.write_base(model)
        return ["--enable-lora", "--max-lora-rank", str(min(r for r in _RANKS if r >= rank))]

    def write(self, model: LanguageModel) -> None:
        """See `Delivery`."""
        self._folder.write_adapters(model)

    def take(self, version: int) -> None:
        """See `Delivery`."""
        self._before, self._name = self._name, f"student-{version}"

    def hand_over(self, ask: Call) -> None:
        """See `Delivery`."""
        for name in {self._before, self._name} - {""}:
            with contextlib.suppress(LastingError):  # the server does not have it
                ask("POST", "/v1/unload_lora_adapter", json.dumps({"lora_name": name}).encode())
        call = {"lora_name": self._name, "lora_path": str(self._folder.adapters)}
        ask("POST", "/v1/load_lora_adapter", json.dumps(call).encode())

    def named(self, served: str) -> str:
        """See `Delivery`."""
        return self._name


def rank_of(model: LanguageModel) -> int:
    """The rank of the adapters. Raises UserError if anything else is trained, or the rank is too large for vLLM."""
    rank = None if model.adapter is None else model.adapter.low_rank
    if rank is None or rank > max(_RANKS):
        why = "no adapter is trained" if model.adapter is None else f"adapter.r above {max(_RANKS)}"
        why = "whole modules are trained, too (adapter.modules_to_save)" if rank is None and model.adapter else why
        raise UserError(f"rollout.adapters=alone: {why}; allowed: rollout.adapters=merged")
    return rank
