"""Folders that people have: adapters, quantised and damaged checkpoints, tokenizers and templates of all kinds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.generation import HFRollout
from opdkit.models import LanguageModel, ModelSpec, load, load_skeleton
from opdkit.samplers import Greedy
from tests.tiny import rendered, tiny_model, tiny_problems, written

# Saving an adapter, peft asks transformers by a name that is going to leave, and looks for the base.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Could not find a config file:UserWarning"),
]
CHAT = [Message("system", "be brief"), Message("user", "hi")]


def save(model: LanguageModel, folder: Path) -> Path:
    model.module.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return folder


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Apply `change` to the tensors of a saved model."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def set_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(folder: Path, key: str = "model", **how: bool) -> str:
    with pytest.raises(UserError) as caught:
        load(ModelSpec(str(folder)), key=key, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    save(tiny_model(0), tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    assert refusal(tmp_path, "teacher").endswith("tensors missing: model.layers.1.mlp.up_proj.weight")


def test_unknown_and_misshapen_tensors_are_named_and_known_buffers_are_not(tmp_path: Path) -> None:
    save(tiny_model(0), tmp_path)

    def change(tensors: dict[str, Tensor]) -> None:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(4)
        tensors["model.layers.0.self_attn.masked_bias"] = torch.zeros(1)

    rewrite(tmp_path, change)
    load(ModelSpec(str(tmp_path)))
    rewrite(tmp_path, lambda tensors: tensors.update({"score.weight": torch.zeros(1, 16)}))
    rewrite(tmp_path, lambda tensors: tensors.update({"model.norm.weight": torch.zeros(15)}))
    said = refusal(tmp_path)
    assert "unknown to the architecture: score.weight" in said
    assert "of another shape: model.norm.weight (15,) for (16,)" in said


def test_many_missing_tensors_are_counted(tmp_path: Path) -> None:
    save(tiny_model(0), tmp_path)
    set_config(tmp_path, num_hidden_layers=4)
    assert "and 14 more" in refusal(tmp_path)


def adapter(folder: Path, base: str, config: LoraConfig | PromptTuningConfig | None = None) -> LanguageModel:
    """Save an adapter with random weights in `folder`; returns the model with it merged."""
    model = tiny_model(0)
    chosen = config or LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(model.module, chosen)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    adapted.peft_config["default"].base_model_name_or_path = base
    adapted.save_pretrained(folder)
    return model if config else LanguageModel(adapted.merge_and_unload(), model.tokenizer, "merged", model.vocabulary)


def test_an_adapter_is_merged_into_its_base(tmp_path: Path) -> None:
    base = save(tiny_model(0), tmp_path / "base")
    merged = adapter(tmp_path / "adapter", str(base))
    spec = ModelSpec(str(tmp_path / "adapter"))
    found = load(spec, trains=True)
    ids = torch.arange(12)[None]
    assert torch.allclose(found.module(ids).logits, merged.module(ids).logits, atol=1e-5)
    assert not torch.allclose(found.module(ids).logits, tiny_model(0).module(ids).logits, atol=1e-1)
    assert all(p.requires_grad for p in found.module.parameters())
    assert found.render(CHAT) == tiny_model(0).render(CHAT)
    assert load_skeleton(spec).module.config.hidden_size == 16
    again = load(ModelSpec(str(save(found, tmp_path / "whole"))))
    assert torch.equal(again.module(ids).logits, found.module(ids).logits)


def test_an_adapter_that_cannot_be_merged_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = save(tiny_model(0), tmp_path / "base")
    adapter(tmp_path / "lost", str(tmp_path / "nowhere"))
    assert "nowhere" in refusal(tmp_path / "lost")
    adapter(tmp_path / "lora", str(base))
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    tensors.pop(next(iter(tensors)))
    save_file(tensors, tmp_path / "lora" / "adapter_model.safetensors", metadata={"format": "pt"})
    assert "missing adapter keys" in refusal(tmp_path / "lora")
    adapter(tmp_path / "prompt", str(base), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    assert "a PROMPT_TUNING adapter can't be merged" in refusal(tmp_path / "prompt")
    set_adapter = tmp_path / "lora" / "adapter_config.json"
    set_adapter.write_text(json.dumps(json.loads(set_adapter.read_text()) | {"base_model_name_or_path": None}))
    assert "names no model" in refusal(tmp_path / "lora")
    monkeypatch.setattr("opdkit.models.adapters.find_spec", lambda name: None)
    assert "pip install 'opdkit[lora]'" in refusal(tmp_path / "prompt")


def eight_bits(folder: Path) -> dict[str, Tensor]:
    """Save a model whose projections are in eight-bit floats with a scale a block; returns what they stand for."""
    save(tiny_model(0, hidden_size=128, intermediate_size=128, initializer_range=0.05), folder)
    meant: dict[str, Tensor] = {}

    def change(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if "_proj" in name]:
            scale = tensors[name].abs().max() / 448
            tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
            tensors[f"{name}_scale_inv"] = scale.expand((len(tensors[name]) + 127) // 128, 1).contiguous()
            meant[name] = tensors[name].float() * scale

    rewrite(folder, change)
    quantised = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    set_config(folder, quantization_config=quantised)
    return meant


@pytest.mark.skipif(torch.cuda.is_available(), reason="an accelerator may keep eight bits in memory")
def test_eight_bit_floats_are_read_as_what_they_stand_for(tmp_path: Path) -> None:
    meant = eight_bits(tmp_path)
    found = load(ModelSpec(str(tmp_path)), key="teacher")
    held = dict(found.module.named_parameters())
    for name, value in meant.items():
        assert torch.allclose(held[name], value, rtol=1e-2), name


def test_quantised_weights_are_no_student_and_a_missing_package_is_named(tmp_path: Path) -> None:
    save(tiny_model(0), tmp_path)
    set_config(tmp_path, quantization_config={"quant_method": "hqq"})
    assert "can't be loaded" in refusal(tmp_path, "teacher")
    set_config(tmp_path, quantization_config={"quant_method": "unheard-of"})
    assert "quantised (unheard-of) and can't be trained" in refusal(tmp_path, trains=True)


def answers(folder: Path, count: int = 12) -> list[list[int]]:
    model = load(ModelSpec(str(folder)))
    settings, pairs = HFRollout(count, 256, 64), rendered(model, tiny_problems(3))
    rollout = written(settings, model, pairs, Greedy(), 1.0, [0, 1, 2])
    return [row[mask].tolist() for row, mask in zip(rollout.tokens, rollout.sampled_mask, strict=True)]


def test_every_listed_end_of_sequence_ends_an_answer(tmp_path: Path) -> None:
    save(tiny_model(0), tmp_path)
    plain = answers(tmp_path)
    ends = [257, plain[0][1], plain[1][2]]
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": ends}))
    assert load(ModelSpec(str(tmp_path))).stop_ids == frozenset(ends)
    for before, now in zip(plain, answers(tmp_path), strict=True):
        stop = next((place + 1 for place, token in enumerate(before) if token in ends), len(before))
        assert now == before[:stop]


def test_a_tokenizer_without_padding_or_end_of_sequence_runs_to_the_limit(tmp_path: Path) -> None:
    model = tiny_model(0, eos_token_id=None, pad_token_id=None)
    expected = tiny_model(0, eos_token_id=None, pad_token_id=None)
    model.tokenizer.pad_token = model.tokenizer.eos_token = None
    model.module.generation_config.eos_token_id = None
    save(model, tmp_path)
    found = load(ModelSpec(str(tmp_path)))
    assert (found.pad_id, found.stop_ids) == (0, frozenset())
    given = answers(tmp_path)
    assert [len(answer) for answer in given] == [12, 12, 12]
    ids = torch.tensor([expected.render(tiny_problems(1)[0].messages)])
    assert given[0] == expected.module.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :].tolist()


def test_a_template_switches_thinking_by_its_variables(tmp_path: Path) -> None:
    model = tiny_model(0)
    model.tokenizer.chat_template += "{% if enable_thinking is defined and not enable_thinking %}<none>{% endif %}"
    save(model, tmp_path)
    plain = load(ModelSpec(str(tmp_path))).render_text(CHAT)
    for given, ending in (({"enable_thinking": False}, "<none>"), ({"enable_thinking": None}, ""), ({}, "")):
        found = load(ModelSpec(str(tmp_path), template_kwargs=given))
        assert found.render_text(CHAT) == plain + ending
        assert found.restricted(100).render_text(CHAT) == plain + ending
    with pytest.raises(UserError, match=r"template_kwargs\.tokenize"):
        ModelSpec("x", template_kwargs={"tokenize": True})


def test_a_template_that_refuses_a_system_role_says_so(tmp_path: Path) -> None:
    model = tiny_model(0)
    refusing = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    model.tokenizer.chat_template = refusing + model.tokenizer.chat_template
    save(model, tmp_path)
    found = load(ModelSpec(str(tmp_path)))
    assert found.render(CHAT[1:])
    with pytest.raises(UserError, match="refuses the prompt: System role not supported"):
        found.render(CHAT)


def test_a_teacher_whose_layers_wait_on_the_cpu_scores_the_same(tmp_path: Path) -> None:
    save(tiny_model(0), tmp_path)
    plain = load(ModelSpec(str(tmp_path)))
    found = load(ModelSpec(str(tmp_path)), key="teacher", offload=True)
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(found.module(ids).logits, plain.module(ids).logits)
    assert found.refusal is None
    assert found.device == torch.device("cpu")
    assert found.mebibytes == plain.mebibytes
    waiting = [name for name, parameter in found.module.named_parameters() if parameter.is_meta]
    assert waiting == [name for name, _ in plain.module.named_parameters() if ".layers." in name]
