"""Several processes, started by torchrun over gloo, train as one does."""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights
from tests.invariants.test_episodes import LETTERS, PLAYED
from tests.invariants.test_multi import TASK
from tests.ranks import environment, torchrun, train_together
from tests.tiny import tiny_model

BASE = ("steps=2", "optim.lr=1e-3", "diagnostics_every=2", "log_samples=3")
GROUPED = ("batch.prompts=2", "batch.rollouts_per_prompt=4")
LONGER = "def longer(problem, response, siblings):\n    return sum(len(response) > len(one) for one in siblings)\n"
GRPO = ("objective=grpo", "reward=function", "reward.function=OWN/longer.py:longer", *GROUPED)
ADAPTED = ("adapter=lora", "adapter.r=2", "adapter.merge=true")
SHORT_PASSES = ("batch.micro_batch_tokens=40", "gradient_variance=null")
FAST: dict[str, tuple[str, ...]] = {
    "grpo": GRPO,
    "multi": ("task=both", "task.schedule=mixed", "batch.mini_batch=4", "batch.micro_batch=1"),
    "lora": (*GRPO, *ADAPTED, "teacher=self", "teacher.kind=start", "objective.kl_weight=0.1", "diagnostics_every=0"),
    "ahead": ("objective=sampled", "max_staleness=1", "steps=3", "eval_every=1"),
}
AHEAD: dict[str, tuple[str, ...]] = {
    "ahead": ("batch.epochs=2", "batch.mini_batch=4", "batch.micro_batch=2", "max_staleness=2", "steps=4"),
    "grpo": (*GRPO, "max_staleness=1", "steps=3"),
    "game": (*PLAYED, "task=letters", "batch.micro_batch=1", "max_staleness=1", "steps=3"),
    "turns": ("task=both", "task.schedule=alternating", "batch.mini_batch=4", "batch.micro_batch=1", "steps=4",
              "max_staleness=2"),
    "lora": (*ADAPTED, "max_staleness=1", "steps=3"),
}  # fmt: skip
MORE: dict[str, tuple[str, ...]] = {
    "multi": FAST["multi"],
    "topk": ("batch.epochs=2", "batch.mini_batch=4", "batch.micro_batch=2", "eval_every=1"),
    "sampled": ("objective=sampled", "masking=entropy"),
    "union": ("objective=topk_union", "aggregation=sequence_mean"),
    "bucket": ("objective=topk_bucket", "aggregation=sequence_sum"),
    "full": ("objective=full_reverse_kl",),
    "jsd": ("objective=gkd_jsd", "method=gkd", "student_share=0.5", "steps=3"),
    "minillm": ("method=minillm",),
    "iw": ("objective=iw_opd",),
    "ema_teacher": ("objective=ema_pg_teacher",),
    "checkpointing": ("model.gradient_checkpointing=true", "keep_best.metric=train/loss", "keep_best.mode=min"),
    "live": ("objective=full_reverse_kl", "teacher=self", "diagnostics_every=0"),
    "tokens": SHORT_PASSES,
    "student_support": ("objective=topk_student_sampled",),
    "many_faces": ("objective=many_faces",),
    "thinking_machines": ("objective=thinking_machines", "batch.mini_batch=4", "batch.micro_batch=2"),
    "masked": ("objective=sampled", "objective.discount=0.5", "masking=first_occurrence"),
    "rubrics": ("method=ropd", "text=sums_script", *GROUPED),
    "game": (*PLAYED, "task=letters", "batch.micro_batch=1"),
    "episodes": (*PLAYED, "task=letters", "rollout.form=episode", "batch.micro_batch=1"),
    "lora": (*ADAPTED, "adapter.r=3", "adapter.modules_to_save=[input_layernorm,norm]"),
    "lora_start": (*FAST["lora"], "keep_best.metric=train/loss", "keep_best.mode=min"),
    "packed": ("objective=full_reverse_kl", "batch.packing=true", *SHORT_PASSES),
    "turns": ("task=both", "task.schedule=alternating", "batch.mini_batch=4", "batch.micro_batch=1", "steps=4"),
}


# What each process holds of a model; with copies, two groups of processes that hold all of it each.
SHARDS = {"none": ("shard=none",), "fsdp2": ("shard=fsdp2",), "copies": ("shard=fsdp2", "shard_replicas=2")}
SHARDS["offloaded"] = ("shard=fsdp2", "shard_offload=true")


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flag that makes `task=letters` and `task=both` known."""
    folder = tmp_path_factory.mktemp("own")
    model = tiny_model(2)
    model.module.save_pretrained(folder / "teacher")
    model.tokenizer.save_pretrained(folder / "teacher")
    (folder / "task").mkdir()
    (folder / "longer.py").write_text(LONGER)
    (folder / "task" / "letters.yaml").write_text(LETTERS)
    (folder / "task" / "both.yaml").write_text(TASK.replace("TEACHER", str(folder / "teacher")))
    return str(folder)


def _arguments(pair: list[str], own: str, overrides: Sequence[str]) -> list[str]:
    given = merged(*pair, *BASE, *(text.replace("OWN", own) for text in overrides))
    if "teacher=self" in given:
        given = [text for text in given if not text.startswith("teacher.path")]
    return [f"--config-dir={own}", *given] if {"task=both", "task=letters"} & set(given) else given


def _responses(run: Path) -> list[str]:
    return [json.loads(line)["response"] for line in (run / "samples.jsonl").read_text().splitlines()]


def _close(one: Path, two: Path, relative: float = 1e-6) -> None:
    """Every number of the two runs is the same, and what they wrote.

    Differences of two log-probs keep the rounding of both, which depends on how many rows a forward pass has.
    """
    for before, after in zip(metrics(one), metrics(two), strict=True):
        assert before.keys() == after.keys()
        for name, value in before.items():
            if isinstance(value, float) and not math.isnan(value) and not name.endswith("seconds"):
                least = 1e-5 if "failure/" in name or name.endswith("grad_snr") else relative  # small differences
                wide = 5 * relative if "grad_" in name else relative  # sums of many numbers in another order
                assert after[name] == pytest.approx(value, rel=wide, abs=least), name
    first, second = load_file(one / "final/model.safetensors"), load_file(two / "final/model.safetensors")
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-4
    assert _responses(one) == _responses(two)
    for file in (one / "evals").rglob("*.responses.jsonl"):
        if file.parent.name == "teacher" and not (two / "evals/teacher").exists():
            continue  # a divided teacher is not evaluated
        assert file.read_text() == (two / file.relative_to(one)).read_text()


def _same(one: Path, two: Path) -> None:
    """The two runs are equal to the bit."""
    assert weights(one) == weights(two)
    assert metrics(one) == metrics(two)
    assert _responses(one) == _responses(two)


def _compare(
    count: int,
    runs: Mapping[str, tuple[str, ...]],
    shards: Sequence[tuple[str, str]],
    pair: list[str],
    own: str,
    folder: Path,
) -> None:
    """shards: names of runs, and what each process holds of a model."""
    # Gradient variance is over micro-batches, which are those of one process where they fit into a process's part.
    alike = () if count == 2 else ("batch.micro_batch=1",)
    asked = {name: _arguments(pair, own, (*runs[name], *alike)) for name, _ in shards}
    train_together(count, {f"{n}-{shard}": [*asked[n], *SHARDS[shard]] for n, shard in shards}, folder)
    for name, arguments in asked.items():
        assert main(["train", *arguments, f"run_dir={folder / name}"]) == 0
    for name, shard in shards:
        _close(folder / name, folder / f"{name}-{shard}")


def test_two_processes_equal_one(pair: list[str], own: str, tmp_path: Path) -> None:
    shards = [("grpo", "none"), ("ahead", "none"), ("multi", "fsdp2"), ("multi", "offloaded"), ("lora", "fsdp2")]
    _compare(2, FAST, shards, pair, own, tmp_path)
    _same(tmp_path / "multi-fsdp2", tmp_path / "multi-offloaded")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("count", [2, 4])
def test_steps_made_ahead_are_those_of_one_process(pair: list[str], own: str, tmp_path: Path, count: int) -> None:
    _compare(count, AHEAD, [(name, "none") for name in AHEAD], pair, own, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_steps_made_ahead_go_on_to_the_bit(pair: list[str], tmp_path: Path) -> None:
    asked = merged(
        *pair, *BASE, "objective=sampled", "steps=5", "checkpoint_every=1", "keep_checkpoints=9", "max_staleness=2"
    )
    train_together(2, {"whole": asked}, tmp_path)
    half = halved(tmp_path / "whole", "step-000002")
    shutil.copytree(half, tmp_path / "alone")
    train_together(2, {"half": [*asked, "resume=true"]}, tmp_path)
    assert weights(half) == weights(tmp_path / "whole")
    assert metrics(half) == metrics(tmp_path / "whole")
    assert _responses(half) == _responses(tmp_path / "whole")
    assert main(["train", *asked, f"run_dir={tmp_path / 'alone'}", "resume=true"]) == 0
    _close(tmp_path / "whole", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shard", ["none", "fsdp2"])
@pytest.mark.parametrize("count", [2, 4])
def test_objectives_games_and_several_tasks(pair: list[str], own: str, tmp_path: Path, count: int, shard: str) -> None:
    _compare(count, MORE, [(name, shard) for name in MORE], pair, own, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_copies_of_divided_weights_equal_one_process(pair: list[str], own: str, tmp_path: Path) -> None:
    runs = ("topk", "full", "ema_teacher", "checkpointing", "live", "tokens", "lora", "lora_start", "game", "turns")
    _compare(4, MORE, [(name, "copies") for name in runs], pair, own, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_divided_run_goes_on_from_its_parts(pair: list[str], own: str, tmp_path: Path) -> None:
    """With as many processes to the bit, with more within rounding; the teacher changes with the student."""
    asked = merged(
        *pair, *BASE, "steps=4", "checkpoint_every=2", "keep_checkpoints=5", "shard=fsdp2", "teacher=self",
        "teacher.kind=ema", "teacher.rate=0.5", "batch.micro_batch=2",
    )  # fmt: skip
    asked = [text for text in asked if not text.startswith("teacher.path")]
    train_together(2, {"whole": asked}, tmp_path)
    half = halved(tmp_path / "whole", "step-000002")
    shutil.copytree(half, tmp_path / "more")
    half_of_parts = shutil.copytree(half, tmp_path / "kept")
    train_together(2, {"half": [*asked, "resume=true"]}, tmp_path)
    assert weights(tmp_path / "half") == weights(tmp_path / "whole")
    assert metrics(tmp_path / "half") == metrics(tmp_path / "whole")
    train_together(4, {"more": [*asked, "resume=true"]}, tmp_path)
    _close(tmp_path / "whole", tmp_path / "more", relative=4e-6)  # its signal-to-noise is a small difference
    shutil.rmtree(tmp_path / "more" / "final")
    (tmp_path / "more" / "summary.json").unlink()
    shutil.copytree(half_of_parts, tmp_path / "copies")
    train_together(4, {"copies": [*asked, "shard_replicas=2", "resume=true"]}, tmp_path)
    _close(tmp_path / "whole", tmp_path / "copies", relative=4e-6)
    for folder in (tmp_path / "more" / "checkpoints").iterdir():
        next((folder / "parts").iterdir()).unlink()
    process = _start(2, tmp_path, [*asked, "resume=true", "run_dir=more"])
    _, errors = process.communicate(timeout=300)
    (line,) = [line for line in errors.splitlines() if line.startswith("opdkit: error:")]
    assert "no whole checkpoint" in line
    assert ".safetensors is missing" in line
    assert "exitcode  : 2" in errors


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_where_parts_lie_changes_nothing(pair: list[str], own: str, tmp_path: Path) -> None:
    """Offloaded or not, the same bits, also where a run goes on with the other."""
    every = ("checkpoint_every=1", "keep_checkpoints=5", "steps=3", "optim.clip_norm=1e-3", "batch.micro_batch=1")
    runs = {name: (*MORE[name], *every) for name in ("full", "ema_teacher", "live", "checkpointing", "lora_start")}
    asked = {name: [*_arguments(pair, own, run), *SHARDS["fsdp2"]] for name, run in runs.items()}
    offloaded = {f"{name}-offloaded": [*arguments, "shard_offload=true"] for name, arguments in asked.items()}
    train_together(2, {**asked, **offloaded}, tmp_path)
    for name in runs:
        _same(tmp_path / name, tmp_path / f"{name}-offloaded")
    half = halved(tmp_path / "ema_teacher", "step-000002")
    train_together(2, {half.name: [*asked["ema_teacher"], "shard_offload=true", "resume=true"]}, tmp_path)
    _same(tmp_path / "ema_teacher", half)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_divided_adapters_are_written_whole_and_go_on_to_the_bit(pair: list[str], tmp_path: Path) -> None:
    asked = merged(
        *pair, *BASE, "steps=4", "checkpoint_every=2", "keep_checkpoints=5", "shard=fsdp2", "adapter=lora",
        "adapter.r=3", "keep_best.metric=train/loss",
    )  # fmt: skip
    train_together(2, {"whole": asked}, tmp_path)
    halved(tmp_path / "whole", "step-000002")
    train_together(2, {"half": [*asked, "resume=true"]}, tmp_path)
    assert metrics(tmp_path / "half") == metrics(tmp_path / "whole")
    alone = [text for text in asked if not text.startswith("shard=")]
    assert main(["train", *alone, f"run_dir={tmp_path / 'one'}"]) == 0
    for folder in ("final", "best"):
        files = [tmp_path / run / folder / "adapter_model.safetensors" for run in ("whole", "half", "one")]
        assert files[0].read_bytes() == files[1].read_bytes()
        first, second = load_file(files[0]), load_file(files[2])
        assert first.keys() == second.keys()
        assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-4
    parts = tmp_path / "whole" / "checkpoints" / "step-000004" / "parts"
    held = {name for file in parts.iterdir() for name in load_file(file)}
    assert any("lora_A" in name for name in held)
    assert not any("base_layer" in name for name in held)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_accelerate_starts_processes_as_torchrun_does(pair: list[str], tmp_path: Path) -> None:
    asked = merged(*pair, *BASE)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes=2", "--num_machines=1"]
    settings = ["--mixed_precision=no", "--dynamo_backend=no"]
    for kind, run in (("--multi_gpu", "launched"), ("--use_fsdp", "refused")):
        command = [*launch, kind, *settings, "-m", "opdkit", "train", *asked, f"run_dir={tmp_path / run}"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, cwd=tmp_path)
        if kind == "--use_fsdp":
            assert done.stderr.count("opdkit: error:") == 1
            assert "say shard=fsdp2" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
    assert main(["train", *asked, f"run_dir={tmp_path / 'one'}"]) == 0
    _close(tmp_path / "one", tmp_path / "launched")


def test_one_process_has_nobody_to_share_weights_with(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *merged(*pair, *BASE, "shard=fsdp2", f"run_dir={tmp_path / 'run'}")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "shard=fsdp2: divides weights among several processes" in line
    assert not (tmp_path / "run").exists()


LONG = ("steps=8", "checkpoint_every=2", "eval_every=4", "optim.lr=1e-3")


def _start(count: int, folder: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = torchrun(count, "-m", "opdkit", "train", *arguments)
    surroundings = environment() | {"OPDKIT_TIMEOUT_S": "60"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=surroundings, stdout=pipe, stderr=pipe, text=True)


def _worker(process: subprocess.Popen[str], rank: int) -> psutil.Process:
    """The process of a rank: torchrun tells it to the workers alone, by their environment."""
    children = psutil.Process(process.pid).children(recursive=True)
    return next(child for child in children if child.environ().get("RANK") == str(rank))


def _wait_for_lines(process: subprocess.Popen[str], file: Path, count: int) -> None:
    until = time.monotonic() + 600
    while not file.exists() or file.read_text().count("\n") <= count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("rank", "asked"), [(0, "shard=none"), (1, "shard=none"), (1, "shard=fsdp2"), (1, "max_staleness=2")]
)
def test_a_killed_process_ends_all_and_the_run_goes_on(
    train: Callable[..., Path], pair: list[str], tmp_path: Path, rank: int, asked: str
) -> None:
    arguments = merged(*pair, *LONG, asked, "run_dir=killed")
    process = _start(2, tmp_path, arguments)
    _wait_for_lines(process, tmp_path / "killed" / "metrics.jsonl", 4)
    worker, began = _worker(process, rank), time.monotonic()
    others = psutil.Process(process.pid).children(recursive=True)
    worker.kill()
    _, said = process.communicate(timeout=300)
    assert time.monotonic() - began < 60
    assert process.returncode != 0
    assert said.count("opdkit: error:") <= 1
    assert not any(other.is_running() for other in others)
    again = _start(2, tmp_path, [*arguments, "resume=true"])
    said = again.communicate(timeout=600)
    assert again.returncode == 0, said
    together = _start(2, tmp_path, merged(*pair, *LONG, asked, "run_dir=whole"))
    assert together.communicate(timeout=600)
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")
    _close(train("alone", *LONG, *(() if "shard" in asked else (asked,))), tmp_path / "killed")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("staleness", [0, 3])
def test_a_signal_to_one_process_stops_all_and_one_process_can_go_on(
    train: Callable[..., Path], pair: list[str], tmp_path: Path, staleness: int
) -> None:
    arguments = merged(*pair, *LONG, "checkpoint_every=0", f"max_staleness={staleness}", "run_dir=stopped")
    process = _start(2, tmp_path, arguments)
    _wait_for_lines(process, tmp_path / "stopped" / "metrics.jsonl", 2)
    _worker(process, 1).send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "opdkit: error" not in said
    assert len(list((tmp_path / "stopped" / "checkpoints").glob("step-*"))) == 1
    assert main(["train", *arguments, "resume=true"]) == 0
    _close(train("alone", *LONG, f"max_staleness={staleness}"), tmp_path / "stopped")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("batch.mini_batch=1", "batch.micro_batch=1"), "batch.mini_batch=1: fewer rollouts than the 2 processes"),
        (("objectve=topk",), "objectve"),
        (("probe_every=1",), "probe_every=1"),
        (("shard=fsdp2", "shard_replicas=2"), "shard_replicas=2: 2 processes can't be 2 groups"),
        (("reward=function", "reward.function=nowhere.py:f"), "reward.function"),
    ],
)
def test_a_mistake_is_told_once(pair: list[str], tmp_path: Path, asked: tuple[str, ...], said: str) -> None:
    process = _start(2, tmp_path, merged(*pair, *LONG, "run_dir=refused", *asked))
    _, errors = process.communicate(timeout=300)
    lines = [line for line in errors.splitlines() if line.startswith("opdkit: error:")]
    assert len(lines) == 1, errors
    assert said in lines[0]
    assert "exitcode  : 2" in errors
    assert not (tmp_path / "refused").exists()
