"""Loads a model from a spec, with one-line errors for user mistakes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from opdkit import device
from opdkit.errors import UserError
from opdkit.hub import cache_where_unreachable
from opdkit.models.adapters import find_adapter, merge_adapter
from opdkit.models.architectures import auto_class, freeze_what_text_leaves_out, require_trainable
from opdkit.models.checks import check_head, prove_decoding
from opdkit.models.clamps import bound_time_steps
from opdkit.models.language_model import LanguageModel
from opdkit.models.offloading import offload_layers
from opdkit.models.quantised import keep_differentiable, nf4
from opdkit.models.spec import ModelSpec
from opdkit.models.template import first_line
from opdkit.models.tensors import require_whole

T = TypeVar("T")
_MODEL_FILES = ("config.json", "adapter_config.json")


def load(
    spec: ModelSpec,
    device: torch.device | str = "cpu",
    key: str = "model",
    *,
    trains: bool = False,
    offload: bool = False,
) -> LanguageModel:
    """Load the weights and the tokenizer of `spec` onto `device`.

    key: the config group, for errors. trains: whether its weights will be updated. offload: whether its layers are
    offloaded to CPU memory.

    Raises UserError for a path that is neither a folder nor on the hub, an incomplete checkpoint, weights that
    should be trained but can't be, and logits that differ from what lm_head and config imply. A model that can't be
    decoded exactly is rejected; a teacher only if it is asked to generate.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    spec = replace(spec, dtype=spec.held_in(torch.device(device).type, trains))
    tokenizer = _read(lambda: _tokenizer(spec, key), spec, key)
    module = _read(lambda: _module(spec, key, device), spec, key)
    if spec.quantize != "none":
        keep_differentiable(module)
    if offload:
        offload_layers(module.requires_grad_(False), device, key, spec.path)
    else:
        module = module.to(device)
    if trains:
        require_trainable(module, key, spec.path)
    freeze_what_text_leaves_out(module)
    bound_time_steps(module)
    if spec.gradient_checkpointing:
        _recompute_activations(module)
    module.eval()
    model = _language_model(module, tokenizer, spec)
    check_head(model, key)
    model = prove_decoding(model, key)
    if model.refusal and key != "teacher":
        raise UserError(model.refusal)
    return model


def load_skeleton(spec: ModelSpec, key: str = "model") -> LanguageModel:
    """The model of `spec` on the meta device: tokenizer, shapes and settings without weights.

    Raises UserError as `load` does, except for checks that need the weights.
    """
    transformers_logging.set_verbosity_error()
    spec = replace(spec, dtype=spec.held_in(device.kind(), trains=key == "model"))
    tokenizer = _read(lambda: _tokenizer(spec, key), spec, key)
    module = _read(lambda: _empty_module(spec, key), spec, key)
    return _language_model(module, tokenizer, spec)


def load_tokenizer(spec: ModelSpec, key: str = "model") -> Any:
    """Only the tokenizer."""
    return _read(lambda: _tokenizer(spec, key), spec, key)


def _language_model(module: Any, tokenizer: Any, spec: ModelSpec) -> LanguageModel:
    rows = int(module.get_output_embeddings().weight.shape[0])
    return LanguageModel(module, tokenizer, spec.path, rows, spec.template_kwargs)


def _where(spec: ModelSpec) -> dict[str, Any]:
    return {"revision": spec.revision or "main", "trust_remote_code": spec.trust_remote_code}


def _tokenizer(spec: ModelSpec, key: str) -> Any:
    """The folder's tokenizer, or the base model's for an adapter folder without one."""
    adapter = find_adapter(spec, key)
    if adapter is not None and not adapter.has_tokenizer:
        return _tokenizer(adapter.base, key)
    return AutoTokenizer.from_pretrained(spec.location(), **_where(spec))


def _module(spec: ModelSpec, key: str, device: torch.device | str) -> Any:
    adapter = find_adapter(spec, key)
    if adapter is not None:
        if spec.quantize != "none":
            raise UserError(f"adapter.quantize={spec.quantize}: {key}.path={spec.path!r} is an adapter itself")
        return merge_adapter(_module(adapter.base, key, device), adapter, spec, key)
    config = AutoConfig.from_pretrained(spec.location(), **_where(spec))
    dtype = getattr(torch, spec.dtype)
    held = {} if spec.quantize == "none" else {"quantization_config": nf4(dtype), "device_map": {"": device}}
    module, info = auto_class(config).from_pretrained(
        spec.location(),
        dtype=dtype,
        **held,
        attn_implementation=None if spec.attention == "auto" else spec.attention,
        **_where(spec),
        weights_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # reported by name below, not ignored
    )
    require_whole(info, key, spec.path)
    return module


def _empty_module(spec: ModelSpec, key: str) -> Any:
    adapter = find_adapter(spec, key)
    if adapter is not None:
        return _empty_module(adapter.base, key)
    config = AutoConfig.from_pretrained(spec.location(), **_where(spec))
    remote = {"trust_remote_code": spec.trust_remote_code}
    with torch.device("meta"):
        module = auto_class(config).from_config(config, dtype=getattr(torch, spec.dtype), **remote)
    with suppress(OSError):  # without this file, the generation settings of the config are used
        module.generation_config = GenerationConfig.from_pretrained(spec.location(), **_where(spec))
    return module


def _recompute_activations(module: Any) -> None:
    """Enable activation checkpointing under either of its names: transformers renames it towards 6.0."""
    if hasattr(module, "activation_checkpointing_enable"):
        module.activation_checkpointing_enable({"use_reentrant": False})
    else:
        module.gradient_checkpointing_enable({"use_reentrant": False})


def _read(load_part: Callable[[], T], spec: ModelSpec, key: str) -> T:
    local = Path(spec.path).expanduser().exists() or spec.path.startswith("embedded/")
    try:
        with nullcontext() if local else cache_where_unreachable():
            return load_part()
    except UserError:
        raise
    except Exception as error:  # transformers, safetensors and the hub raise many types for the same mistake
        if local and not any((Path(spec.location()) / name).is_file() for name in _MODEL_FILES):
            raise UserError(f"{key}.path={spec.path!r} holds no model: no {' and no '.join(_MODEL_FILES)}") from error
        if local:
            raise UserError(f"{key}.path={spec.path!r} can't be loaded: {first_line(error)}") from error
        raise UserError(
            f"{key}.path={spec.path!r} is not a folder here and could not be had from the Hugging Face hub: "
            f"{first_line(error)}"
        ) from error
