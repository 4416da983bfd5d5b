"""A fix for two architectures that clamp their state-space time step in a full forward pass but not in decoding."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

_MIXERS = {"nemotron_h": "NemotronHMamba2Mixer", "zamba2": "Zamba2MambaMixer"}


def bound_time_steps(module: Any) -> None:
    """Make single-token decoding use the same time step as a full forward pass.

    For Nemotron-H and Zamba2, transformers clamps softplus(dt + bias) from below in a forward pass over many tokens but
    not over a single one. Here dt is clamped before, so that both give the same states.
    """
    name = _MIXERS.get(module.config.get_text_config().model_type)
    for mixer in module.modules():
        if type(mixer).__name__ == name and mixer.time_step_limit[0] > 0:
            mixer.in_proj.register_forward_hook(_clamp(mixer))


def _clamp(mixer: Any) -> Any:
    least = math.log(math.expm1(mixer.time_step_limit[0]))  # softplus of it is the limit

    def hook(_: nn.Module, __: object, projected: Tensor) -> Tensor:
        if projected.shape[1] != 1:
            return projected
        rest, dt = projected[..., : -mixer.num_heads], projected[..., -mixer.num_heads :]
        return torch.cat([rest, torch.maximum(dt, least - mixer.dt_bias.to(dt.dtype))], dim=-1)

    return hook
