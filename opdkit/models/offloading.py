"""Keeps a model's layers in CPU memory and moves them to the device one at a time."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import cpu_offload
from torch import nn

from opdkit.errors import UserError


def offload_layers(module: Any, device: torch.device | str, key: str, path: str) -> None:
    """Keep the layers of `module`, which lies on the CPU, there; everything else moves to `device`.

    A layer's weights are copied to `device` for each of its forward passes and let go of afterwards. Embeddings, norms
    and lm_head stay on it. Raises UserError for a module whose layers are not found.
    """
    count = module.config.get_text_config().num_hidden_layers
    stacks = [
        part for part in module.get_decoder().children() if isinstance(part, nn.ModuleList) and len(part) == count
    ]
    if len(stacks) != 1:
        raise UserError(f"{key}.cpu_offload: the layers of {path!r} ({type(module).__name__}) are not one list")
    inside = {id(tensor) for stack in stacks for tensor in (*stack.parameters(), *stack.buffers())}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None and id(parameter) not in inside:
                parameter.data = parameter.data.to(device)
        for name, buffer in part._buffers.items():
            if buffer is not None and id(buffer) not in inside:
                part._buffers[name] = buffer.to(device)
    for layer in stacks[0]:
        cpu_offload(layer, execution_device=torch.device(device), offload_buffers=True)
