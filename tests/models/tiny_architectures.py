"""Tiny models with random weights of the architectures that people bring, from transformers' own config classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from tests.tiny import tiny_tokenizer

SIZE: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 256,
    "bos_token_id": 258,
    "eos_token_id": 257,
}
HEAD = {"head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
SHARED = EXPERTS | {"shared_expert_intermediate_size": 16}
ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_group": 1, "topk_group": 1}
LATENT = {"kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
DELTA = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 8,
}
MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_state": 8, "mamba_chunk_size": 4}
WINDOW = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}


@dataclass(frozen=True)
class Architecture:
    """name: as people say it; kind: transformers' model type; changes: of `SIZE`; fast: in the quick part of the test.

    text: changes of a wrapper's text config; without it the model is a text model.
    """

    name: str
    kind: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    fast: bool = False
    text: Mapping[str, Any] | None = None

    def config(self) -> Any:
        """The config of a tiny model."""
        if self.text is None:
            return AutoConfig.for_model(self.kind, **(SIZE | dict(self.changes)))
        return AutoConfig.for_model(self.kind, text_config=SIZE | dict(self.text), **self.changes)

    def save(self, folder: Path) -> None:
        """Write a model with random weights, and a tokenizer of bytes, as a Hugging Face folder."""
        config = self.config()
        torch.manual_seed(0)
        kind = AutoModelForCausalLM if self.text is None else AutoModelForImageTextToText
        module = kind.from_config(config)
        for parameter in module.parameters():
            if parameter.isnan().any() or not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
        module.save_pretrained(folder)
        tiny_tokenizer().save_pretrained(folder)


def _of(name: str, kind: str, *groups: Mapping[str, Any], fast: bool = False, **changes: Any) -> Architecture:
    merged: dict[str, Any] = {}
    for group in (*groups, changes):
        merged |= group
    return Architecture(name, kind, merged, fast)


def _sees(name: str, kind: str, *groups: Mapping[str, Any], fast: bool = False, **changes: Any) -> Architecture:
    """A wrapper that also sees. changes: of the wrapper; groups: of its text config."""
    text: dict[str, Any] = {}
    for group in groups:
        text |= group
    return Architecture(name, kind, changes, fast, text)


_EYE = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
_QWEN_EYE = {"hidden_size": 16, "intermediate_size": 32, "depth": 1, "num_heads": 2, "out_hidden_size": 16}
_ROPE_3D = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}

ARCHITECTURES: tuple[Architecture, ...] = (
    _of("Qwen2 and Qwen2.5", "qwen2", fast=True),
    _of("Qwen2-MoE", "qwen2_moe", SHARED),
    _of("Qwen3", "qwen3", HEAD, fast=True),
    _of("Qwen3-MoE", "qwen3_moe", EXPERTS, HEAD, fast=True),
    _of("Qwen3-Next", "qwen3_next", SHARED, DELTA, fast=True),
    _of("Qwen3.5", "qwen3_5_text", DELTA, fast=True),
    _of("Qwen3.5-MoE", "qwen3_5_moe_text", SHARED, DELTA),
    _of("Llama", "llama", fast=True),
    _of("Mistral", "mistral", sliding_window=6),
    _of("Ministral", "ministral", HEAD),
    _of("Mixtral", "mixtral", LOCAL),
    _of("Gemma", "gemma", HEAD),
    _of("Gemma 2", "gemma2", HEAD, sliding_window=6, fast=True),
    _of("Gemma 3", "gemma3_text", HEAD, WINDOW, fast=True),
    _of("Gemma 4", "gemma4_text", HEAD, WINDOW, global_head_dim=8, vocab_size_per_layer_input=264,
        hidden_size_per_layer_input=4),
    _of("Phi-1 and Phi-2", "phi"),
    _of("Phi-3 and Phi-4", "phi3"),
    _of("Phi-3.5-MoE", "phimoe", LOCAL),
    _of("OLMo", "olmo"),
    _of("OLMo 2", "olmo2"),
    _of("OLMo 3", "olmo3", WINDOW),
    _of("OLMo Hybrid", "olmo_hybrid", DELTA),
    _of("OLMoE", "olmoe", EXPERTS),
    _of("GLM-4 (0414)", "glm4", HEAD),
    _of("GLM-4 (HF)", "glm", HEAD),
    _of("GLM-4.5", "glm4_moe", ROUTED, HEAD, n_shared_experts=1, first_k_dense_replace=1),
    _of("DeepSeek-V2", "deepseek_v2", ROUTED, LATENT, n_shared_experts=1, first_k_dense_replace=1,
        topk_method="greedy"),
    _of("DeepSeek-V3", "deepseek_v3", ROUTED, LATENT, n_shared_experts=1, first_k_dense_replace=1, fast=True),
    _of("gpt-oss", "gpt_oss", LOCAL, HEAD, sliding_window=6, fast=True),
    _of("Granite", "granite", logits_scaling=4.0),
    _of("Granite MoE", "granitemoe", LOCAL),
    _of("Granite 4 hybrid", "granitemoehybrid", LOCAL, MAMBA2, layer_types=["mamba", "attention"],
        shared_intermediate_size=16),
    _of("Cohere", "cohere"),
    _of("Cohere 2", "cohere2", WINDOW, fast=True),
    _of("SmolLM3", "smollm3"),
    _of("Falcon", "falcon"),
    _of("Falcon-H1", "falcon_h1", MAMBA2, mamba_d_ssm=32, fast=True),
    _of("Falcon Mamba", "falcon_mamba"),
    _of("Mamba", "mamba"),
    _of("Mamba 2", "mamba2", hidden_size=32, num_heads=8, head_dim=8, n_groups=2, state_size=8, chunk_size=4,
        fast=True),
    _of("Bamba", "bamba", MAMBA2, attn_layer_indices=[1]),
    _of("Jamba", "jamba", num_hidden_layers=4, attn_layer_period=2, attn_layer_offset=1, num_experts=2,
        mamba_d_state=4, mamba_dt_rank=2, use_mamba_kernels=False),
    _of("Nemotron", "nemotron"),
    _of("Nemotron-H", "nemotron_h", layers_block_type=["mamba", "attention", "mlp"], num_hidden_layers=3,
        mamba_num_heads=4, mamba_head_dim=8, ssm_state_size=8, n_groups=1, chunk_size=4, head_dim=8, fast=True),
    _of("Zamba 2", "zamba2", layers_block_type=["mamba", "hybrid"], use_shared_attention_adapter=False,
        mamba_d_state=8, mamba_headdim=8,
        n_mamba_heads=4, mamba_ngroups=1, chunk_size=4, num_mem_blocks=1, adapter_rank=4),
    _of("LFM2", "lfm2", layer_types=["conv", "full_attention"], fast=True),
    _of("LFM2-MoE", "lfm2_moe", EXPERTS, layer_types=["conv", "full_attention"], num_dense_layers=1),
    _of("MiniMax-Text-01 and M1", "minimax", LOCAL, HEAD, layer_types=["linear_attention", "full_attention"],
        block_size=4, fast=True),
    _of("MiniMax-M2", "minimax_m2", LOCAL, HEAD),
    _of("Ernie 4.5", "ernie4_5"),
    _of("Ernie 4.5 MoE", "ernie4_5_moe", moe_num_experts=4, moe_k=2, moe_intermediate_size=16,
        moe_layer_start_index=0, moe_layer_end_index=1),
    _of("Hunyuan", "hunyuan_v1_dense", HEAD),
    _of("Hunyuan MoE", "hunyuan_v1_moe", HEAD, num_experts=2, moe_topk=1),
    _of("Seed-OSS", "seed_oss", HEAD),
    _of("EXAONE 4", "exaone4", WINDOW),
    _of("StableLM", "stablelm"),
    _of("Starcoder 2", "starcoder2"),
    _of("GPT-2", "gpt2", fast=True),
    _of("GPT-NeoX and Pythia", "gpt_neox"),
    _of("GPT-J", "gptj", rotary_dim=4),
    _of("OPT", "opt", ffn_dim=32, word_embed_proj_dim=16),
    _of("BLOOM", "bloom", fast=True),
    _of("MPT", "mpt"),
    _of("MiniCPM 3", "minicpm3", LATENT),
    _of("Apertus", "apertus"),
    _of("Arcee", "arcee"),
    _of("Helium", "helium", HEAD),
    _of("dots.llm1", "dots1", ROUTED, first_k_dense_replace=1, n_shared_experts=1),
    _of("nanochat", "nanochat"),
    _of("DiffLlama", "diffllama"),
    _sees("Gemma 3 with its eye", "gemma3", HEAD, WINDOW, vision_config=_EYE | {"model_type": "siglip_vision_model"},
          mm_tokens_per_image=4),
    _sees("Mistral 3 with its eye", "mistral3", {"model_type": "mistral"}, HEAD,
          vision_config=_EYE | {"model_type": "pixtral", "head_dim": 8}, fast=True),
    _sees("Qwen2.5-VL", "qwen2_5_vl", _ROPE_3D, vision_config=_QWEN_EYE),
    _sees("Qwen3-VL", "qwen3_vl", HEAD, _ROPE_3D,
          vision_config=_QWEN_EYE | {"deepstack_visual_indexes": [0]}, fast=True),
    _sees("Qwen3.5 with its eye", "qwen3_5", DELTA, vision_config=_QWEN_EYE),
    _sees("LLaVA", "llava", {"model_type": "llama"}, vision_config=_EYE | {"model_type": "clip_vision_model"}),
)  # fmt: skip

REFUSED: tuple[Architecture, ...] = (
    _of("RWKV 4", "rwkv"),
    _of("RecurrentGemma", "recurrent_gemma", num_hidden_layers=3, lru_width=16, attention_window_size=8),
    _of("xLSTM", "xlstm", num_heads=2),
    _of("BERT", "bert"),
)
