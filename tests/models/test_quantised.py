"""Adapters over a base of 4 bits, against the same base with its rounded weights in full."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from opdkit.cli.main import main
from opdkit.errors import UserError
from opdkit.models import LoRA, ModelSpec, Request, Scorer, load
from opdkit.models.quantised import keep_differentiable, prove_gradients, quantised_layers
from tests.invariants.conftest import halved, merged, metrics
from tests.models.test_lora import _log_prob, _moved
from tests.models.test_packing import uneven
from tests.tiny import save_pair

bitsandbytes = pytest.importorskip("bitsandbytes")
pytest.importorskip("peft")
QLORA = LoRA(r=2, quantize="nf4")


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    save_pair(tmp_path)
    return ModelSpec(str(tmp_path / "student"), quantize="nf4")


def in_full(spec: ModelSpec) -> nn.Module:
    """The model with the weights of 4 bits as float32."""
    rounded, module = load(spec).module, load(replace(spec, quantize="none")).module
    places = dict(module.named_modules())
    for name, layer in rounded.named_modules():
        if layer in quantised_layers(rounded):
            weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            places[name].weight.data.copy_(weight)
    return module


def test_scores_and_gradients_are_those_of_the_rounded_base(spec: ModelSpec) -> None:
    whole = replace(load(replace(spec, quantize="none")), module=in_full(spec))
    before = _log_prob(load(replace(spec, quantize="none")), uneven(whole))
    base = load(spec)
    assert len(quantised_layers(base.module)) == 14  # two layers of seven
    for weight in (base.head().weight, base.module.get_input_embeddings().weight):
        assert weight.dtype == torch.float32
    found: list[torch.Tensor] = []
    for model, adapter in ((load(spec), QLORA), (whole, LoRA(r=2))):
        torch.manual_seed(0)
        adapted = adapter.attach(model, spec, None)
        rollout = uneven(adapted)
        start = _log_prob(adapted, rollout)
        torch.testing.assert_close(start, _log_prob(base, rollout), atol=1e-5, rtol=1e-5)
        assert not torch.allclose(start, before, atol=1e-2)
        _moved(adapted)
        scores = Scorer(adapted)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0).sampled_log_prob
        assert scores is not None
        scores.sum().backward()
        trained = [p for p in adapted.module.parameters() if p.requires_grad]
        assert all(p.grad is not None for p in trained)
        found.append(torch.cat([p.grad.flatten() for p in trained if p.grad is not None]))
    assert float((found[0] - found[1]).norm() / found[1].norm()) < 1e-4


def test_layers_that_gradients_do_not_pass_are_refused(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model = QLORA.attach(load(spec), spec, None)
    assert all(not layer.support_avx512bf16_for_cpu for layer in quantised_layers(model.module))
    keep_differentiable(model.module)
    prove_gradients(model)
    layer = quantised_layers(model.body())[3]  # o_proj of the first layer
    monkeypatch.setattr(layer, "forward", lambda x: type(layer).forward(layer, x.detach()).detach())
    with pytest.raises(UserError, match=r"adapter.quantize=nf4: no gradient reaches .*layers.0.self_attn"):
        prove_gradients(model)


def test_a_run_goes_on_to_the_bit(tmp_path: Path) -> None:
    pair, asked = save_pair(tmp_path), ("adapter=lora", "adapter.quantize=nf4", "adapter.r=2", "steps=2")
    run = merged(*pair, *asked, "checkpoint_every=1")
    assert main(["train", *run, f"run_dir={tmp_path / 'whole'}"]) == 0
    half = halved(tmp_path / "whole", "step-000001")
    assert main(["train", *run, f"run_dir={half}", "resume=true"]) == 0
    assert metrics(half) == metrics(tmp_path / "whole")
    files = [folder / "final" / "adapter_model.safetensors" for folder in (half, tmp_path / "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("wrong", ["shard=fsdp2", "adapter.merge=true", "adapter.quantize=int3"])
def test_what_does_not_go_with_it(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["adapter=lora", "adapter.quantize=nf4", wrong, f"run_dir={tmp_path / 'run'}"]
    asked = asked[:1] + asked[2:] if "quantize" in wrong else asked
    assert main(["train", *asked]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "adapter." in line
