"""`opdkit doctor`: its verdict is its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.cli.conftest import Opdkit
from tests.tiny import SPECIALS, save_pair, tiny_model

SMALL = ("batch.prompts=4", "batch.mini_batch=4", "batch.micro_batch=2", "rollout.max_new_tokens=12", "k=8")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, and a teacher whose end of sequence is another token and whose template differs."""
    folder = tmp_path_factory.mktemp("models")
    for name, seed in (("student", 0), ("teacher", 1), ("other", 2), ("stranger", 3)):
        model = tiny_model(seed)
        if name == "other":
            model.tokenizer.eos_token = "<user>"
            model.tokenizer.chat_template += "Think."
            model.module.generation_config.eos_token_id = 258
        model.module.save_pretrained(folder / name)
        model.tokenizer.save_pretrained(folder / name)
    for file in (folder / "stranger").glob("tokenizer*.json"):
        file.write_text(file.read_text().replace(SPECIALS[3], "<system>"))
    return folder


def overrides(models: Path, teacher: str) -> list[str]:
    paths = [f"model.path={models / 'student'}", f"teacher.path={models / teacher}"]
    return ["model=local", "teacher=local", *paths, *SMALL]


def test_a_pair_that_may_be_trained(opdkit: Opdkit, models: Path, tmp_path: Path) -> None:
    told = opdkit("doctor", *overrides(models, "teacher"), "measure=true")
    assert (told.status, told.err) == (0, "")
    costs = ("cost of a step, estimated", "activations of a micro-batch", "cost of a step, measured", "ratio")
    assert all(title in told.out for title in costs)
    for title in ("token ids", "special tokens", "chat templates", "splits in 4 sample", "masking", "sampling at"):
        assert title in told.out
    assert "all 260 ids mean the same tokens" in told.out
    assert "4 of 264 rows of the student's lm_head are padding" in told.out
    assert "verdict  warning" in told.out  # random weights: the sampler keeps little of the teacher's mass
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_no_failure_and_say_what_to_set(opdkit: Opdkit, models: Path) -> None:
    told = opdkit("doctor", *overrides(models, "other"))
    assert told.status == 0
    assert "the student stops with '<eos>', the teacher with '<user>'" in " ".join(told.out.split())
    assert "masking.strings" in told.out
    assert "the prompt differs from character" in told.out


def test_other_ids_stop_before_weights_are_read(opdkit: Opdkit, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opdkit.doctor.run.open_session", pytest.fail)
    told = opdkit("doctor", *overrides(models, "stranger"))
    assert told.status == 1
    assert "1 ids mean different tokens; 259 mean the same" in told.out
    assert "<system>" in told.out
    assert "verdict  STOP" in told.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["objective=topkk"], "did you mean"),
        (["model=local", "model.path=nowhere"], "model.path='nowhere'"),
        (["--multirun", "seed=1,2"], "is for a single run"),
        (["seed=1,2"], "several values"),
        (["measure=yes"], "measure=true or measure=false"),
        (["measure=true", "measure=true"], "once"),
    ],
)
def test_bad_input(opdkit: Opdkit, arguments: list[str], said: str) -> None:
    told = opdkit("doctor", *arguments)
    assert told.status == 2
    assert said in told.err
    assert told.err.count("\n") == 1


def test_help(opdkit: Opdkit) -> None:
    told = opdkit("doctor", "--help")
    assert told.status == 0
    assert "opdkit doctor [key=value ...]" in told.out


def test_train_says_the_cheap_part_at_its_start(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rest = ["steps=1", "logger=jsonl", "benchmark.limit=2", "benchmark.max_new_tokens=4", "run_dir=run"]
    assert main(["train", *overrides(models, "other"), *rest]) == 0
    said = capsys.readouterr().out
    assert "warning: the student stops with '<eos>', the teacher with '<user>' (set: masking=special_spans" in said
    assert "warning: the prompt differs from character" in said


def _row(out: str, name: str) -> list[float]:
    """The numbers of the first row whose first column ends so."""
    return [float(one) for one in next(line for line in out.splitlines() if name in line).partition(name)[2].split()]


def test_the_memory_of_several_processes_is_told_from_shapes_alone(
    opdkit: Opdkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opdkit.doctor.run.open_session", pytest.fail)
    pair = save_pair(tmp_path)
    divided = opdkit("doctor", *pair, "shard=fsdp2", "world_size=8")
    assert divided.status == 0
    assert "embedding and lm_head, gathered" in divided.out
    assert "AdamW's two moments" in divided.out
    copies = opdkit("doctor", *pair, "shard=fsdp2", "shard_replicas=2", "world_size=16")
    assert copies.out.partition("in each process ")[2] == divided.out.partition("in each process ")[2] != ""
    offloaded = opdkit("doctor", *pair, "shard=fsdp2", "shard_offload=true", "world_size=8")
    assert "GiB of host memory" in offloaded.out
    sums = {text: _row(text, "total") for text in (divided.out, offloaded.out)}
    assert [len(found) for found in sums.values()] == [1, 2]
    assert sum(sums[offloaded.out]) == pytest.approx(sums[divided.out][0], rel=0.1)  # both are rounded
    kept = sum(sum(_row(divided.out, name)) for name in ("weights (float32)", "gradients", "two moments"))
    assert sums[offloaded.out][1] >= 0.9 * kept
    adapted = opdkit("doctor", *pair, "shard=fsdp2", "adapter=lora", "world_size=8")
    assert "adapters: AdamW's two moments" in adapted.out
    whole = opdkit("doctor", *pair, "world_size=8")
    assert "gathered" not in whole.out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("shard=fsdp2",), "world_size=N"),
        (("shard=fsdp2", "world_size=1"), "needs at least 2 processes"),
        (("world_size=0",), "world_size=0: give world_size=N"),
        (("world_size=2", "world_size=2"), "once"),
        (("shard=fsdp",), "shard=fsdp: no such way"),
        (("shard=fsdp2", "shard_replicas=3", "world_size=8"), "shard_replicas=3: 8 processes can't be 3 groups"),
        (("shard=fsdp2", "shard_replicas=2", "world_size=2"), "shard_replicas=2: 2 processes can't be 2 groups"),
        (("shard_replicas=2", "world_size=2"), "shard_replicas=2: with shard=none"),
        (("shard_offload=true", "world_size=2"), "shard_offload=true: with shard=none"),
        (("shard=fsdp2", "teacher.cpu_offload=true", "world_size=2"), "teacher.cpu_offload"),
    ],
)
def test_what_can_not_be_divided(opdkit: Opdkit, tmp_path: Path, asked: tuple[str, ...], said: str) -> None:
    told = opdkit("doctor", *save_pair(tmp_path), *asked)
    assert told.status == 2
    assert said in told.err
    assert told.err.count("\n") == 1
