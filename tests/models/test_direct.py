"""Decoding steps computed directly, against transformers' own."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM
from transformers.integrations import sdpa_attention

from opdkit.generation import pad_prompts
from opdkit.models import Decoder, LanguageModel, decoding, direct
from opdkit.models.cache import new_cache
from tests.models.tiny_architectures import SIZE
from tests.tiny import tiny_model, tiny_tokenizer

KINDS = {
    "llama": {"attention_bias": True, "mlp_bias": False},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {"head_dim": 12},
}
# Earlier versions of transformers repeat keys and values for padded rows, instead of grouping the queries.
GROUPS_QUERIES = hasattr(sdpa_attention, "pack_gqa")
PROMPTS = [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10], [11, 12, 13, 14]]


@pytest.fixture(autouse=True)
def no_module_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_agrees", type(direct._agrees)())


def built(kind: str, heads: int = 2, dtype: torch.dtype = torch.float32, **changes: Any) -> LanguageModel:
    torch.manual_seed(0)
    size = SIZE | {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": heads}
    config = AutoConfig.for_model(kind, **(size | KINDS.get(kind, {}) | changes))
    module = AutoModelForCausalLM.from_config(config).to(dtype).eval()
    return LanguageModel(module, tiny_tokenizer(), kind, 260)


def decoded(model: LanguageModel, prompts: list[list[int]], leave: bool, steps: int = 9) -> tuple[list[Tensor], bool]:
    """The logits of every step, and whether they were computed directly."""
    decoder = Decoder(model, pad_prompts(model, prompts), steps)
    tokens = torch.randint(0, 250, (steps, len(prompts)), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = [decoder.start()]
        for step in range(steps):
            if leave and step in (3, 6):
                index = torch.tensor([0, 2, 3] if step == 3 else [0, 2])
                decoder.keep(index)
                tokens = tokens[:, index]
            logits.append(decoder.advance(tokens[step]))
    return logits, decoder._direct is not None


def same(found: list[Tensor], expected: list[Tensor], apart: float = 1e-4) -> bool:
    """Whether logits are equal bit for bit, or up to rounding where transformers computes attention otherwise."""
    pairs = zip(found, expected, strict=True)
    return all(torch.equal(a, b) if GROUPS_QUERIES else torch.allclose(a, b, atol=apart) for a, b in pairs)


def by_transformers(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> list[Tensor]:
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "direct_step", lambda *_: None)
        logits, directly = decoded(*arguments)
    assert not directly
    return logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("leave", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_bit_is_transformers_own(
    kind: str, heads: int, padded: bool, leave: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = built(kind, heads, dtype)
    prompts = PROMPTS if padded else [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]
    found, directly = decoded(model, prompts, leave)
    assert directly
    expected = by_transformers(monkeypatch, model, prompts, leave)
    assert same(found, expected, 1e-4 if dtype == torch.float32 else 0.1)


def test_every_bit_is_transformers_own_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("qwen2")
    with torch.autocast("cpu", torch.bfloat16):
        found, directly = decoded(model, PROMPTS, True)
        assert directly
        expected = by_transformers(monkeypatch, model, PROMPTS, True)
    assert same(found, expected, 0.1)


def test_a_trained_weight_is_seen_by_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("llama")
    before, _ = decoded(model, PROMPTS, False)
    with torch.no_grad():
        model.module.model.layers[0].mlp.up_proj.weight.add_(0.1)
    after, directly = decoded(model, PROMPTS, False)
    assert directly
    assert not torch.equal(before[-1], after[-1])
    assert same(after, by_transformers(monkeypatch, model, PROMPTS, False))


def test_a_scaled_rotary_embedding_is_computed_by_the_module_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    scaled = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
    model = built("llama", rope_parameters=scaled, max_position_embeddings=32)
    found, directly = decoded(model, PROMPTS, True)
    assert directly
    expected = by_transformers(monkeypatch, model, PROMPTS, True)
    assert same(found, expected)


class Subclass(LlamaForCausalLM):
    """A model whose forward pass may differ."""


def _hooked(model: LanguageModel) -> None:
    model.module.model.layers[1].mlp.register_forward_hook(lambda *_: None)


def _replaced(model: LanguageModel) -> None:
    layer = model.module.model.layers[0].mlp
    real = layer.forward
    layer.forward = lambda x: real(x)


def _adapted(model: LanguageModel) -> None:
    peft = pytest.importorskip("peft")
    peft.get_peft_model(model.module, peft.LoraConfig(target_modules=["q_proj", "down_proj"]))


def _subclass(model: LanguageModel) -> None:
    model.module.__class__ = Subclass


def _other_layer(model: LanguageModel) -> None:
    class Other(torch.nn.Linear):
        """May differ from a linear layer later."""

    model.module.model.layers[0].mlp.down_proj.__class__ = Other


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft
@pytest.mark.parametrize("change", [_hooked, _replaced, _adapted, _subclass, _other_layer])
def test_a_changed_module_is_left_to_transformers(change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change computes the same at first, as untrained adapters do: the comparison would not notice it."""
    model = built("llama")
    change(model)
    found, directly = decoded(model, PROMPTS, True)
    assert not directly
    expected = by_transformers(monkeypatch, model, PROMPTS, True)
    assert same(found, expected)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {"attn_implementation": "eager"}),
        ("llama", {"hidden_act": "gelu"}),
        ("mistral", {"sliding_window": 4}),
        ("gemma", {"head_dim": 8}),
        ("olmo2", {}),
    ],
)
def test_another_computation_is_left_to_transformers(kind: str, changes: dict[str, Any]) -> None:
    assert not decoded(built(kind, **changes), PROMPTS, False)[1]


def test_a_class_that_computes_otherwise_is_noticed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another version of transformers might: the comparison decides, not the class's name."""
    model = built("llama")
    compared = []

    def scaled(module: Any, arguments: Any, answer: Any) -> None:
        answer.logits.mul_(1.01)

    real = direct._compare

    def counted(module: Any) -> bool:
        handle = module.register_forward_hook(scaled)
        compared.append(real(module))
        handle.remove()
        return compared[-1]

    monkeypatch.setattr(direct, "_compare", counted)
    assert not decoded(model, PROMPTS, False)[1]
    assert not decoded(model, PROMPTS, True)[1]
    assert compared == [False]


def test_a_model_that_cannot_drop_rows_is_left_to_transformers() -> None:
    assert not decoded(replace(tiny_model(0), drops_rows=False), PROMPTS, False)[1]


@pytest.mark.parametrize("autocast", [False, True])
def test_the_comparison_of_a_right_module(autocast: bool) -> None:
    model = built("qwen3")
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        assert direct.direct_step(model.module, new_cache(model.module), torch.ones(1, 0, dtype=torch.long)) is not None
