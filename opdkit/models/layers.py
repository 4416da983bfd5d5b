"""Finds the decoder layers of a transformers model."""

from __future__ import annotations

from typing import Any

from torch import nn

from opdkit.errors import UserError


def layers_of(module: Any, key: str, path: str) -> nn.ModuleList:
    """The decoder's layers. Raises UserError, naming `key`, if they are not in a single list."""
    count = module.config.get_text_config().num_hidden_layers
    stacks = [
        part for part in module.get_decoder().children() if isinstance(part, nn.ModuleList) and len(part) == count
    ]
    if len(stacks) != 1:
        raise UserError(f"{key}: the layers of {path!r} ({type(module).__name__}) are not one list")
    return stacks[0]
