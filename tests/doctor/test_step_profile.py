"""What autograd keeps is counted; a real step beside its estimate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.doctor.step_profile import KeptTensors, StepProfile
from opdkit.training.session import close_session, open_session
from tests.tiny import tiny_model


def test_kept_tensors_are_counted_once_and_parameters_not_at_all() -> None:
    layer = torch.nn.Linear(8, 16, bias=False)
    counter = KeptTensors(layer)
    entered = torch.randn(4, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda kept: kept):
        out = layer(entered)  # keeps what entered, 4 x 8, and the weight
        (out * out).sum()  # keeps out, 4 x 16, twice
    assert sorted(counter.sizes.values()) == [4 * 8 * 4, 4 * 16 * 4]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="resident memory is read on a CPU")
def test_memory_of_a_real_step_is_within_a_quarter(tmp_path: Path) -> None:
    for name, seed in (("student", 0), ("teacher", 1)):
        model = tiny_model(
            seed, hidden_size=256, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=8,
            num_key_value_heads=4, vocab_size=8000, initializer_range=0.02,
        )  # fmt: skip
        model.module.save_pretrained(tmp_path / name)
        model.tokenizer.save_pretrained(tmp_path / name)
    typed = [
        "model=local", f"model.path={tmp_path / 'student'}", "teacher=local", f"teacher.path={tmp_path / 'teacher'}",
        "batch.prompts=8", "batch.mini_batch=8", "batch.micro_batch=8", "batch.epochs=1", "rollout.max_new_tokens=64",
    ]  # fmt: skip
    experiment = build_experiment(compose(Source("train"), typed), Origin(typed, {}, []))
    try:
        session = open_session(experiment, None)
        before = {name: p.detach().clone() for name, p in session.policy.model.module.named_parameters()}
        (task,) = session.tasks.values()
        costing = StepProfile(session, task, experiment)
        section, guess = costing.estimated()
        assert guess is not None
        assert all(torch.equal(p, before[n]) for n, p in session.policy.model.module.named_parameters())
        assert task.collector.source.sampler.cursor == 0
        measured = costing.measured(guess)
    finally:
        close_session()
    assert section.title == "cost of a step, estimated"
    ratio = {row[0]: float(row[3]) for row in measured.grids[0].rows}
    assert ratio["peak memory, MiB"] == pytest.approx(1.0, abs=0.25)
    assert ratio["step, s"] > 0
