"""4-bit linear layers in the base model under adapters (QLoRA, Dettmers et al. 2023), with bitsandbytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from opdkit.errors import UserError
from opdkit.models.language_model import LanguageModel


def nf4(dtype: torch.dtype) -> BitsAndBytesConfig:
    """NF4 with double quantisation, computed in `dtype`. lm_head and weights tied to it are left out, as are
    embeddings, which are not linear layers."""
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
    )


def keep_differentiable(module: nn.Module) -> None:
    """Keep the layers' weights in the only layout that supports gradients.

    On CPUs with AVX-512 BF16, bitsandbytes repacks them in a pass without gradient, after which gradients silently
    stop there.
    """
    for layer in quantised_layers(module):
        layer.support_avx512bf16_for_cpu = False


def quantised_layers(module: nn.Module) -> list[Any]:
    """The 4-bit linear layers."""
    known = ("Linear4bit", "bitsandbytes")  # peft's wrapper has the same class name
    return [m for m in module.modules() if (type(m).__name__, type(m).__module__.partition(".")[0]) == known]


@torch.enable_grad()
def prove_gradients(model: LanguageModel) -> None:
    """Raises UserError if a new adapter gets no gradient after passes without gradient, such as decoding."""
    ids = torch.arange(8, device=model.device)[None] % model.vocabulary
    with torch.no_grad():
        model.body()(input_ids=ids, use_cache=False)
    state = model.body()(input_ids=ids, use_cache=False).last_hidden_state
    # B of a new adapter is zero, so A has no gradient yet.
    grown = {name: p for name, p in model.module.named_parameters() if p.requires_grad and "lora_B" in name}
    weights = torch.linspace(-1.0, 1.0, state.shape[-1], device=state.device, dtype=state.dtype)
    found = torch.autograd.grad((state * weights).sum(), list(grown.values()), allow_unused=True)
    for name, gradient in zip(grown, found, strict=True):
        if gradient is None or not bool(gradient.any()):
            raise UserError(f"adapter.quantize=nf4: no gradient reaches {name} here; allowed: adapter.quantize=none")
