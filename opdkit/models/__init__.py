"""Models: the only package that imports transformers.

The names below load on first use, so that a config can be bound to `ModelSpec` without transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opdkit.models.spec import ModelSpec

if TYPE_CHECKING:
    from opdkit.models.chat import ChatFrame
    from opdkit.models.decoding import Decoder
    from opdkit.models.language_model import LanguageModel
    from opdkit.models.loading import load, load_skeleton, load_tokenizer
    from opdkit.models.lora import LoRA
    from opdkit.models.packing import prove_packing
    from opdkit.models.prefix import Prefix
    from opdkit.models.scorer import Request, Scorer
    from opdkit.models.vocabulary import require_same

_HOMES = {
    "ChatFrame": "chat",
    "Decoder": "decoding",
    "LanguageModel": "language_model",
    "LoRA": "lora",
    "load": "loading",
    "load_skeleton": "loading",
    "load_tokenizer": "loading",
    "Prefix": "prefix",
    "prove_packing": "packing",
    "Request": "scorer",
    "Scorer": "scorer",
    "require_same": "vocabulary",
}

__all__ = [
    "ChatFrame",
    "Decoder",
    "LanguageModel",
    "LoRA",
    "ModelSpec",
    "Prefix",
    "Request",
    "Scorer",
    "load",
    "load_skeleton",
    "load_tokenizer",
    "prove_packing",
    "require_same",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
