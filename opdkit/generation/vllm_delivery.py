"""How the student's newest weights get into vLLM servers."""

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
"""Asks one server: method, path and body to its answer."""
# Ranks for which vLLM makes room.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class Delivery(Protocol):
    """One way of handing weights over."""

    def start(self, model: LanguageModel) -> list[str]:
        """Write the folder that a server starts from. The options that it needs beside."""
        ...

    def write(self, model: LanguageModel) -> None:
        """Write what the servers will read, with divided weights all here. Called in the main process."""
        ...

    def take(self, version: int) -> None:
        """From now on `hand_over` and `named` are about the weights of this version. Called in all processes."""
        ...

    def hand_over(self, ask: Call) -> None:
        """Have a server read what was written. Raises LastingError where it refuses."""
        ...

    def named(self, served: str) -> str:
        """The name by which a request asks for the newest weights. served: the model's own name there."""
        ...


class WholeWeights:
    """Every server reads all weights. Adapters are added to those of the base before.

    Args:
        folder: where they are written.
        method: of the server's workers, which reads them.
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
    """The servers keep the base and read low-rank adapters. Each version has a name of its own: an adapter that is read
    again under the old one would be read again for every batch (vLLM 0.32).

    Args:
        folder: where they are written.
    """

    def __init__(self, folder: WeightsFolder) -> None:
        self._folder = folder
        self._name = self._before = ""

    def start(self, model: LanguageModel) -> list[str]:
        """See `Delivery`. Raises UserError where adapters are not all that is trained."""
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
            with contextlib.suppress(LastingError):  # it does not have it
                ask("POST", "/v1/unload_lora_adapter", json.dumps({"lora_name": name}).encode())
        call = {"lora_name": self._name, "lora_path": str(self._folder.adapters)}
        ask("POST", "/v1/load_lora_adapter", json.dumps(call).encode())

    def named(self, served: str) -> str:
        """See `Delivery`."""
        return self._name


def rank_of(model: LanguageModel) -> int:
    """Of the adapters. Raises UserError where they are not all that is trained, or too wide for vLLM."""
    rank = None if model.adapter is None else model.adapter.low_rank
    if rank is None or rank > max(_RANKS):
        why = "no adapter is trained" if model.adapter is None else f"adapter.r above {max(_RANKS)}"
        why = "whole modules are trained, too (adapter.modules_to_save)" if rank is None and model.adapter else why
        raise UserError(f"rollout.adapters=alone: {why}; allowed: rollout.adapters=merged")
    return rank
