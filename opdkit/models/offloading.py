"""Keeps a model's layers in CPU memory and moves them to the device one at a time."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import cpu_offload

from opdkit.models.layers import layers_of


def offload_layers(module: Any, device: torch.device | str, key: str, path: str) -> None:
    """Keep the layers of `module` on the CPU, where it must be, and move everything else to `device`.

    A layer's weights are copied to `device` for each of its forward passes and freed afterwards. Embeddings, norms
    and lm_head stay on `device`. Raises UserError if the layers can't be found.
    """
    layers = layers_of(module, f"{key}.cpu_offload", path)
    inside = {id(tensor) for tensor in (*layers.parameters(), *layers.buffers())}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None and id(parameter) not in inside:
                parameter.data = parameter.data.to(device)
        for name, buffer in part._buffers.items():
            if buffer is not None and id(buffer) not in inside:
                part._buffers[name] = buffer.to(device)
    for layer in layers:
        cpu_offload(layer, execution_device=torch.device(device), offload_buffers=True)
