"""From a spec to a model in memory, with the user's mistakes told in one line."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging as transformers_logging

from opdkit.errors import UserError
from opdkit.heads import support_logits
from opdkit.hub import cache_where_unreachable
from opdkit.models.language_model import LanguageModel, read_head
from opdkit.models.spec import ModelSpec
from opdkit.models.template import first_line


def load(spec: ModelSpec, device: torch.device | str = "cpu", key: str = "model") -> LanguageModel:
    """Load the weights and the tokenizer of `spec` onto `device`; `key` is the config group, for errors.

    Raises UserError for a path that is neither a folder nor on the hub, and for a model whose logits are
    not what its lm_head and config say.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    tokenizer = _read(lambda: _tokenizer(spec), spec, key)
    module = _read(lambda: _module(spec), spec, key).to(device)
    if spec.gradient_checkpointing:
        _recompute_activations(module)
    module.eval()
    model = LanguageModel(module, tokenizer, spec.path, module.get_output_embeddings().weight.shape[0])
    check_head(model, key)
    return model


def load_skeleton(spec: ModelSpec, key: str = "model") -> LanguageModel:
    """The model of `spec` on the meta device: its tokenizer, shapes and settings, and no weights.

    Raises UserError as `load` does, but for what only weights can tell.
    """
    transformers_logging.set_verbosity_error()
    tokenizer = _read(lambda: _tokenizer(spec), spec, key)
    module = _read(lambda: _empty_module(spec), spec, key)
    return LanguageModel(module, tokenizer, spec.path, module.get_output_embeddings().weight.shape[0])


def load_tokenizer(spec: ModelSpec, key: str = "model") -> Any:
    """The tokenizer alone."""
    return _read(lambda: _tokenizer(spec), spec, key)


def _tokenizer(spec: ModelSpec) -> Any:
    return AutoTokenizer.from_pretrained(
        spec.location(), revision=spec.revision or "main", trust_remote_code=spec.trust_remote_code
    )


def _module(spec: ModelSpec) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        spec.location(),
        dtype=getattr(torch, spec.dtype),
        attn_implementation=spec.attention,
        revision=spec.revision or "main",
        trust_remote_code=spec.trust_remote_code,
        weights_only=True,
    )


def _empty_module(spec: ModelSpec) -> Any:
    where = {"revision": spec.revision or "main", "trust_remote_code": spec.trust_remote_code}
    config = AutoConfig.from_pretrained(spec.location(), **where)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(
            config, dtype=getattr(torch, spec.dtype), trust_remote_code=spec.trust_remote_code
        )
    with suppress(OSError):  # without such a file, what the config says of generation holds
        module.generation_config = GenerationConfig.from_pretrained(spec.location(), **where)
    return module


def _recompute_activations(module: Any) -> None:
    """Activation checkpointing under either of its names: transformers renamed it on the way to 6.0."""
    if hasattr(module, "activation_checkpointing_enable"):
        module.activation_checkpointing_enable({"use_reentrant": False})
    else:
        module.gradient_checkpointing_enable({"use_reentrant": False})


def _read(load_part: Any, spec: ModelSpec, key: str) -> Any:
    local = Path(spec.path).expanduser().exists() or spec.path.startswith("embedded/")
    try:
        with nullcontext() if local else cache_where_unreachable():
            return load_part()
    except UserError:
        raise
    except Exception as error:  # transformers, safetensors and the hub raise many types for one user mistake
        if local:
            raise UserError(f"{key}.path={spec.path!r} can't be loaded: {first_line(error)}") from error
        raise UserError(
            f"{key}.path={spec.path!r} is not a folder here and could not be had from the Hugging Face hub: "
            f"{first_line(error)}"
        ) from error


@torch.no_grad()
def check_head(model: LanguageModel, key: str) -> None:
    """Compare a few logits from the streamed head with the module's own; refuse the model if they differ."""
    head = read_head(model.module, model.vocabulary)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, min(head.vocabulary, len(model.tokenizer)), (1, 8), generator=generator)
    ids = ids.to(model.device)
    hidden = model.body()(input_ids=ids, use_cache=False).last_hidden_state[0]
    wanted = torch.randint(0, head.vocabulary, (8, 32), generator=generator).to(model.device)
    expected = model.module(input_ids=ids, use_cache=False).logits[0].float().gather(1, wanted)
    found = support_logits(hidden, head, wanted, 1.0)
    error = (found.float() - expected).abs().max().item()
    tolerance = 1e-3 if model.module.dtype == torch.float32 else 6e-2
    if not error <= tolerance * max(1.0, expected.abs().max().item()):
        raise UserError(
            f"{key}.path={model.name!r}: the architecture {type(model.module).__name__} changes its logits in a way "
            f"that opdkit does not know (they differ by {error:.3g}); it can't be trained exactly"
        )
