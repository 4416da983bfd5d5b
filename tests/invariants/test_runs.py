"""What a run leaves, and what must not change it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.invariants.conftest import metrics, weights

Train = Callable[..., Path]
EVERY_STEP = (
    "train/loss",
    "train/grad_norm",
    "train/grad_variance",
    "train/grad_snr",
    "train/lr",
    "opd/student_mass",
    "opd/teacher_mass",
    "opd/outside_support",
    "opd/overlap",
    "opd/positive_fraction",
    "opd/log_ratio_mean",
    "opd/student_entropy",
    "opd/teacher_entropy",
    "opd/masked_fraction",
    "rollout/length_mean",
    "rollout/truncated_fraction",
    "rollout/reward_mean",
    "time/rollout_s",
    "time/teacher_s",
    "time/update_s",
    "time/metrics_s",
    "perf/tokens_per_s",
    "perf/peak_rss_mib",
)


@pytest.mark.parametrize("objective", ["topk", "sampled"])
def test_a_run_leaves_what_it_says_it_leaves(train: Train, objective: str) -> None:
    folder = train("run", f"objective={objective}")
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {
        "config.yaml", "env.json", "metrics.jsonl", "samples.jsonl", "diagnostics.jsonl", "evals", "checkpoints",
        "final", "summary.json",
    }  # fmt: skip
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    for line in lines[1:]:
        assert set(EVERY_STEP) <= line.keys()
        phases = sum(line.get(f"time/{name}_s", 0.0) for name in ("rollout", "teacher", "update", "diagnostics"))
        assert 0 < line["time/metrics_s"] < phases
    assert 0 < json.loads((folder / "summary.json").read_text())["metrics_share"] < 1
    assert json.loads((folder / "evals" / "chain_sum.json").read_text())["n_problems"] == 4
    about = json.loads((folder / "env.json").read_text())
    assert about["command"].startswith("opdkit train ")
    assert f"objective={objective}" in about["command"]
    assert about["attention"] == {"model": "sdpa", "teacher": "sdpa"}
    module = AutoModelForCausalLM.from_pretrained(folder / "final")
    tokenizer = AutoTokenizer.from_pretrained(folder / "final")
    assert module.config.vocab_size == 264
    assert tokenizer.chat_template
    assert "on-policy distillation" in (folder / "final" / "README.md").read_text()


def test_the_same_seed_gives_the_same_run_and_another_does_not(train: Train) -> None:
    one, two, other = train("one"), train("two"), train("other", "seed=1")
    assert metrics(one) == metrics(two)
    assert weights(one) == weights(two)
    assert weights(one) != weights(other)


@pytest.mark.parametrize(
    ("aggregation", "size"),
    [
        ("token_mean", ("batch.micro_batch=3",)),  # 3 + 3 + 2
        ("sequence_mean", ("batch.micro_batch=1",)),
        ("sequence_sum", ("batch.micro_batch=8", "batch.micro_batch_tokens=80")),
        ("token_mean", ("batch.micro_batch=5", "batch.packing=true")),
    ],
)
def test_micro_batches_equal_the_full_batch(train: Train, aggregation: str, size: tuple[str, ...]) -> None:
    whole = train("whole", f"aggregation={aggregation}", "batch.micro_batch=8", "steps=1")
    parts = train("parts", f"aggregation={aggregation}", *size, "steps=1")
    ours, theirs = metrics(whole), metrics(parts)
    for name in ("train/loss", "train/grad_norm", "opd/student_mass", "opd/log_ratio_mean"):
        for one, two in zip(ours[1:2], theirs[1:2], strict=True):
            assert one[name] == pytest.approx(two[name], rel=2e-4, abs=1e-6)
    # AdamW's first step divides a gradient by its own size, so weights are compared by their mean residual, too.
    one, two = load_file(whole / "final/model.safetensors"), load_file(parts / "final/model.safetensors")
    residual = torch.cat([(one[name] - two[name]).flatten() for name in one])
    moved = torch.cat([one[name].flatten() for name in one]).abs().mean()
    assert residual.abs().mean() < 2e-3 * moved
    assert residual.mean().abs() < 2e-4 * moved


def test_how_many_rows_are_decoded_at_once_changes_no_rollout(train: Train) -> None:
    one = (train("one", "rollout.batch_size=3", "steps=1") / "samples.jsonl").read_text().splitlines()
    two = (train("two", "rollout.batch_size=64", "steps=1") / "samples.jsonl").read_text().splitlines()
    for first, second in zip(map(json.loads, one[:4]), map(json.loads, two[:4]), strict=True):
        assert first.pop("log_ratio") == pytest.approx(second.pop("log_ratio"), abs=2e-4)
        assert first == second


def test_diagnostics_come_at_their_interval_and_can_be_left_out(train: Train) -> None:
    folder = train("some", "vocabulary_metrics_every=0", "diagnostics_every=2", "diagnostics.mismatch=null")
    tables = [json.loads(line) for line in (folder / "diagnostics.jsonl").read_text().splitlines()]
    names = ["advantage_quantiles", "advantage_histogram", "gap_by_position"]
    assert [(t["step"], t["diagnostic"]) for t in tables] == [(step, name) for step in (1, 3) for name in names]
    lines = metrics(folder)
    assert ["failure/positive_weight" in line for line in lines] == [False, True, False, True]
    assert not any("failure/gap_min" in line for line in lines)
    (first, *_) = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(first["token_texts"]) == len(first["log_ratio"]) == len(first["counted"]) == first["tokens"]
    assert weights(folder) == weights(train("none", "vocabulary_metrics_every=0", "diagnostics=none"))
    assert not (train("never", "diagnostics_every=0") / "diagnostics.jsonl").read_bytes()


def test_a_student_that_is_the_teacher_has_nothing_to_learn(train: Train, pair: list[str]) -> None:
    path = pair[1].removeprefix("model.path=")
    line = metrics(train("same", f"teacher.path={path}", "steps=1", "batch.epochs=1"))[1]
    assert abs(line["train/loss"]) < 1e-6
    assert line["train/grad_norm"] < 1e-5  # rounding; AdamW would still divide it by its own size
    assert line["opd/overlap"] == pytest.approx(1.0)
    assert abs(line["opd/log_ratio_mean"]) < 1e-4


def test_several_updates_on_one_batch_of_rollouts(train: Train) -> None:
    folder = train("run", "batch.mini_batch=4", "batch.epochs=2", "steps=1")
    assert all(line["train/loss"] is not None for line in metrics(folder)[1:])
    assert weights(folder) != weights(train("once", "steps=1"))


def test_bfloat16_and_gradient_checkpointing_run(train: Train) -> None:
    plain = metrics(train("plain", "steps=1"))
    checkpointed = metrics(train("checkpointed", "model.gradient_checkpointing=true", "steps=1"))
    assert checkpointed[1]["train/loss"] == pytest.approx(plain[1]["train/loss"], rel=1e-5)
    half = metrics(train("half", "precision=bfloat16", "steps=1"))
    assert half[1]["train/loss"] == pytest.approx(plain[1]["train/loss"], rel=0.3)
    assert half[1]["train/loss"] != plain[1]["train/loss"]


def test_a_loss_that_stays_infinite_ends_the_run_and_moves_nothing(
    train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from opdkit.objectives import TokenDivergence

    plain = TokenDivergence.__call__
    monkeypatch.setattr(TokenDivergence, "__call__", lambda self, *args: _blown_up(plain(self, *args)))
    with pytest.raises(AssertionError):
        train("run", "max_bad_steps=2", "batch.epochs=1")
    said = capsys.readouterr().err
    assert said.startswith("opdkit: error: step 2: the loss or its gradient was not finite for 2 steps in a row")
    assert said.count("\n") == 1
    lines = metrics(tmp_path / "run")
    assert [line.get("train/skipped_updates") for line in lines] == [None, 1.0, 2.0]


def _blown_up(loss):
    from opdkit.data.loss import TokenLoss

    return TokenLoss(loss.value * float("inf"), loss.metrics)
