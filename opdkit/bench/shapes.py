"""Qwen2-shaped models with random weights, and a batch for them: alike in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdkit.bench.cases import UpdateShape


@dataclass(frozen=True)
class GivenBatch:
    """prompt i64[B, P] and response i64[B, T], no padding."""

    prompt: Tensor
    response: Tensor


def student_and_teacher(shape: UpdateShape) -> tuple[Any, Any]:
    """Two models of one shape and different seeds, float32, heads tied to the embeddings."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=max(512, shape.prompt + shape.response),
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
        use_cache=False,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    models: list[Any] = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        with torch.device(device):
            models.append(Qwen2ForCausalLM(config))
    return models[0].train(), models[1].eval().requires_grad_(False)


def batch_of(shape: UpdateShape) -> GivenBatch:
    """Ids drawn evenly from the vocabulary, the two special ones left out."""
    source = torch.Generator().manual_seed(29)
    size = (shape.batch, shape.prompt + shape.response)
    ids = torch.randint(2, shape.vocabulary, size, generator=source)
    return GivenBatch(ids[:, : shape.prompt], ids[:, shape.prompt :])
