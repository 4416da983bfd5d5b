"""Models with random weights and a batch, identical in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.shapes import UpdateShape
from opdkit import device

PAD, END = 0, 1


class BareTokenizer:
    """The parts of a tokenizer that a forward pass, an update and decoding use."""

    pad_token_id = PAD
    eos_token_id = END


@dataclass(frozen=True)
class GivenBatch:
    """prompt i64[B, P] and response i64[B, T], no padding."""

    prompt: Tensor
    response: Tensor


def student_and_teacher(shape: UpdateShape, use_cache: bool = False) -> tuple[Any, Any]:
    """Two models of one shape and different seeds, heads tied to the embeddings; the student in float32.

    use_cache: the value in their configurations, for trainers that generate.
    """
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    config_class, model_class = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "llama": (LlamaConfig, LlamaForCausalLM),
    }[shape.architecture]
    config: Any = config_class(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=max(512, shape.prompt + shape.response),
        tie_word_embeddings=True,
        bos_token_id=END,
        eos_token_id=END,
        pad_token_id=PAD,
        use_cache=use_cache,
    )
    models: list[Any] = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        with torch.device(device.kind()):
            models.append(model_class(config))
    held = torch.bfloat16 if shape.precision == "bfloat16" else torch.float32
    return models[0].train(), models[1].to(held).eval().requires_grad_(False)


def batch_of(shape: UpdateShape) -> GivenBatch:
    """Ids drawn uniformly from the vocabulary without the two special ones."""
    source = torch.Generator().manual_seed(29)
    size = (shape.batch, shape.prompt + shape.response)
    ids = torch.randint(2, shape.vocabulary, size, generator=source).to(device.kind())
    return GivenBatch(ids[:, : shape.prompt], ids[:, shape.prompt :])
