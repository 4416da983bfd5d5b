"""Adapters: what they change, what they leave, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import HFRollout
from opdkit.models import LanguageModel, LoRA, ModelSpec, Request, Scorer, load
from opdkit.samplers import TopP
from opdkit.teachers import SelfTeacher, TeacherContext
from tests.tiny import rendered, save_pair, tiny_problems, written

pytest.importorskip("peft")


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    save_pair(tmp_path)
    return ModelSpec(str(tmp_path / "student"))


@pytest.fixture
def rollout(spec: ModelSpec) -> Rollout:
    model = load(spec)
    return written(HFRollout(6, 64), model, rendered(model, tiny_problems(3)), TopP(0.9), 1.0, [1, 2, 3])


def _log_prob(model: LanguageModel, rollout: Rollout) -> torch.Tensor:
    with torch.no_grad():
        found = Scorer(model)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0).sampled_log_prob
    assert found is not None
    return found


def _moved(model: LanguageModel) -> None:
    """Any step of training, as far as adapters are concerned."""
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))


def test_a_new_adapter_changes_nothing_and_is_all_that_is_trained(spec: ModelSpec, rollout: Rollout) -> None:
    before = _log_prob(load(spec), rollout)
    model = LoRA(r=2).attach(load(spec), spec, None)
    assert torch.equal(_log_prob(model, rollout), before)
    trained = {name for name, p in model.module.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)


def test_saved_and_loaded_it_is_the_same_model_and_so_is_the_merged_one(
    spec: ModelSpec, rollout: Rollout, tmp_path: Path
) -> None:
    model = LoRA(r=2, targets=("q_proj", "up_proj"), merge=True).attach(load(spec), spec, None)
    _moved(model)
    assert model.adapter is not None
    now = _log_prob(model, rollout)
    model.adapter.save(tmp_path / "adapter")
    again = LoRA(r=2, targets=("q_proj", "up_proj")).attach(load(spec), spec, tmp_path / "adapter")
    assert torch.equal(_log_prob(again, rollout), now)
    model.adapter.save_final(tmp_path / "whole")
    model.tokenizer.save_pretrained(tmp_path / "whole")
    model.tokenizer.save_pretrained(tmp_path / "adapter")
    for folder in ("whole", "adapter"):
        torch.testing.assert_close(_log_prob(load(ModelSpec(str(tmp_path / folder))), rollout), now)


def test_the_start_as_a_teacher_is_the_base_and_takes_no_memory(spec: ModelSpec, rollout: Rollout) -> None:
    before = _log_prob(load(spec), rollout)
    model = LoRA(r=2).attach(load(spec), spec, None)
    teacher = SelfTeacher("start").open(TeacherContext("cpu", model, 1.0, MicroBatch(4))).restricted(model.vocabulary)
    _moved(model)
    now = _log_prob(model, rollout)
    scores = teacher.score(rollout, rollout.sampled_mask, Request(sampled=True))
    assert torch.equal(scores.sampled_log_prob, before)
    assert teacher.bytes() == 0
    assert torch.equal(_log_prob(model, rollout), now)
    assert not torch.equal(now, before)
    assert any(p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (LoRA(targets=("q_prj",)), r"adapter.targets: q_prj is no layer of the model; linear ones: .*q_proj"),
        (LoRA(targets=("lm_head",)), "adapter.targets: lm_head can't be adapted"),
        (LoRA(modules_to_save=("embed_tokens",)), "adapter.modules_to_save: embed_tokens can't be adapted"),
        (LoRA(modules_to_save=("none",)), "adapter.modules_to_save: none is no layer"),
    ],
)
def test_layers_that_are_not_there_or_cant_have_one(spec: ModelSpec, adapter: LoRA, said: str) -> None:
    with pytest.raises(UserError, match=said):
        adapter.attach(load(spec), spec, None)


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"r": 0}, "adapter.r=0"), ({"alpha": 0}, "adapter.alpha"), ({"dropout": 1.0}, "adapter.dropout"),
     ({"targets": "q_proj"}, "adapter.targets=q_proj"), ({"targets": ()}, "names no layer")],
)  # fmt: skip
def test_values_out_of_range(fields: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        LoRA(**fields)  # pyright: ignore[reportArgumentType]


def test_without_peft_the_line_to_type_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'opdkit\[lora\]'"):
        LoRA()
