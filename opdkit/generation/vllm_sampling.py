"""Translates sampling settings to vLLM."""

from __future__ import annotations

from typing import Any

from opdkit.errors import UserError
from opdkit.generation.base import Sampling
from opdkit.samplers import Ancestral, Greedy, MinP, TopK, TopP


def sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """The sampling fields of a vLLM request, which override a model's generation config. Raises UserError for a sampler
    that vLLM does not have."""
    plain = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    plain |= {"presence_penalty": 0.0, "frequency_penalty": 0.0, "temperature": sampling.temperature}
    if sampling.stop:
        plain |= {"stop": list(sampling.stop)}
    match sampling.filter:
        case Ancestral():
            return plain
        case TopP(p):
            return plain | {"top_p": p}
        case TopK(k):
            return plain | {"top_k": k}
        case MinP(p):
            return plain | {"min_p": p}
        case Greedy():
            return plain | {"temperature": 0.0}
        case other:
            raise UserError(
                f"sampler: vLLM has none like {type(other).__name__}; allowed with rollout=vllm: ancestral, top_p, "
                "top_k, min_p, greedy"
            )
