"""From a spec to a model: heads of real architectures, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaConfig,
    PhiConfig,
    Qwen2Config,
)

from opdkit.errors import UserError
from opdkit.heads import support_logits
from opdkit.models import LanguageModel, ModelSpec, load
from opdkit.models.checks import check_head
from tests.tiny import tiny_model, tiny_tokenizer

SIZE = {
    "vocab_size": 264,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,
    "pad_token_id": 0,
}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZE, tie_word_embeddings=False),
        Qwen2Config(**SIZE, tie_word_embeddings=True),
        Gemma2Config(**SIZE, head_dim=8, final_logit_softcapping=3.0),
        CohereConfig(**SIZE, logit_scale=0.25),
        GraniteConfig(**SIZE, logits_scaling=4.0),
        PhiConfig(**{k: v for k, v in SIZE.items() if k != "initializer_range"}),
    ],
    ids=lambda config: config.model_type,
)
def test_the_head_is_read_as_the_architecture_applies_it(config) -> None:
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config).eval()
    for parameter in module.get_output_embeddings().parameters():
        torch.nn.init.normal_(parameter)
    model = LanguageModel(module, tiny_tokenizer(), config.model_type, 264)
    check_head(model, "model")
    ids = torch.arange(12)[None]
    wanted = torch.arange(264).expand(12, 264)
    with torch.no_grad():
        hidden = model.body()(input_ids=ids).last_hidden_state[0]
        expected = module(input_ids=ids).logits[0]
        found = support_logits(hidden, model.head(), wanted, 1.0)
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_head_that_is_not_understood_is_refused() -> None:
    model = tiny_model(0)
    plain = model.module.forward

    def odd(*args, **kwargs):
        answer = plain(*args, **kwargs)
        answer.logits = answer.logits * 1.01
        return answer

    model.module.forward = odd
    with pytest.raises(UserError, match="does not know"):
        check_head(model, "teacher")


def test_a_saved_model_loads_with_its_tokenizer_and_stop_tokens(tmp_path: Path) -> None:
    model = tiny_model(3)
    model.module.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    again = load(ModelSpec(str(tmp_path)))
    assert again.vocabulary == 264
    assert again.stop_ids == frozenset({257})
    assert again.pad_id == 256
    for one, other in zip(model.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(one, other)
    assert again.decode([72, 105, 257, 256]) == model.tokenizer.decode([72, 105])


def test_what_is_no_model_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "config.json").write_text("{not json")
    for path, said in ((str(tmp_path), "can't be loaded"), ("no-such/model", "not a folder here")):
        with pytest.raises(UserError) as caught:
            load(ModelSpec(path), key="teacher")
        assert f"teacher.path={path!r}" in str(caught.value)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("dtype", "int8"), ("path", ""), ("path", "embedded/studnt")])
def test_a_spec_refuses_what_it_cannot_hold(field: str, value: str) -> None:
    with pytest.raises(UserError, match=field):
        ModelSpec(**{"path": "x", field: value})


def test_auto_holds_a_model_that_is_not_trained_in_half_where_there_is_an_accelerator() -> None:
    spec = ModelSpec("x", dtype="auto")
    held = [spec.held_in(device, trains) for device in ("cpu", "cuda") for trains in (False, True)]
    assert held == ["float32", "float32", "bfloat16", "float32"]
    assert ModelSpec("x", dtype="float16").held_in("cuda", trains=False) == "float16"
