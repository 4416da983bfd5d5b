"""Selects the transformers auto class of a checkpoint, and its text model."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

from opdkit.errors import UserError


def auto_class(config: Any) -> Any:
    """The auto class for a config: a causal language model, or a multimodal wrapper around one."""
    kind = type(config)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING and kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    return AutoModelForCausalLM


def freeze_what_text_leaves_out(module: Any) -> None:
    """Freeze the vision and audio towers and projectors of a multimodal wrapper, which text never reaches."""
    if module.config.get_text_config() is module.config:
        return
    reached = {id(p) for part in (module.get_decoder(), module.get_output_embeddings()) for p in part.parameters()}
    for parameter in module.parameters():
        if id(parameter) not in reached:
            parameter.requires_grad_(False)


def require_trainable(module: Any, key: str, path: str) -> None:
    """Raises UserError for weights that are quantised in memory and so can't be trained."""
    held = getattr(module.config, "quantization_config", None)
    if held is not None:
        method = held.get("quant_method") if isinstance(held, dict) else held.quant_method
        raise UserError(
            f"{key}.path={path!r}: the checkpoint is quantised ({getattr(method, 'value', method)}) and can't be "
            "trained; it may be a teacher, or be dequantised and saved first"
        )
