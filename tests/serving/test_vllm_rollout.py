"""rollout=vllm against a stub of the server: the same tokens as in process, the newest weights, one-line refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from opdkit.cli.main import main
from opdkit.errors import RunError, UserError
from opdkit.generation import Ask, EngineCorrection, EpisodeRollout, HFEngine, Sampling, VLLMRollout, gap_metrics
from opdkit.generation.vllm_sampling import sampling_fields
from opdkit.models import LoRA, ModelSpec
from opdkit.samplers import Ancestral, Greedy, MinP, Sampler, TopK, TopP
from tests.ranks import train_together
from tests.serving.running import free_port, running
from tests.serving.stub import Stub, stubbed
from tests.tiny import save_pair, tiny_model

PLAIN = {"vocab_size": 260}
SHORT = (
    "steps=2", "logger=jsonl", "task=chain_sum_few", "benchmark=chain_sum_short", "rollout.max_new_tokens=12",
    "rollout.max_prompt_tokens=96", "batch.prompts=4", "batch.mini_batch=4", "batch.micro_batch=2", "batch.epochs=1",
    "benchmark.limit=2", "diagnostics=none",
)  # fmt: skip
ASKS = [Ask(tuple(range(65 + i, 75 + i)), 2**62 + i, 4 + i) for i in range(6)]


@pytest.fixture
def served() -> Iterator[tuple[str, Stub]]:
    with stubbed(tiny_model(9, **PLAIN)) as found:
        yield found


def spec(*servers: str, **changes: Any) -> VLLMRollout:
    settings = {"max_new_tokens": 16, "max_prompt_tokens": 32, "backoff": 0.02, "patience": 60.0, "timeout": 60.0}
    return VLLMRollout(servers=list(servers), **(settings | changes))


@pytest.mark.parametrize(
    ("sampler", "temperature"),
    [(Ancestral(), 1.0), (TopP(0.8), 0.7), (TopK(3), 1.3), (MinP(0.05), 1.0), (Greedy(), 1.0)],
    ids=str,
)
def test_ids_are_those_that_the_same_weights_sample(
    sampler: Sampler, temperature: float, served: tuple[str, Stub]
) -> None:
    student, sampling = tiny_model(0, **PLAIN), Sampling(temperature, sampler)
    engine = spec(served[0]).open(student)
    found = engine.generate(ASKS, sampling)
    expected = HFEngine(student, 1).generate(ASKS, sampling)
    engine.close()
    assert [(one.ids, one.stop_reason) for one in found] == [(one.ids, one.stop_reason) for one in expected]
    assert all(one.log_prob is None and one.entropy is None for one in found)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.engine_log_prob is None) == (temperature != 1.0)
        if ours.engine_log_prob is not None and not isinstance(sampler, Greedy):
            torch.testing.assert_close(ours.engine_log_prob, theirs.log_prob, atol=1e-5, rtol=1e-5)


def test_a_sampler_that_vllm_lacks_is_refused() -> None:
    class Odd:
        def __call__(self, logits: torch.Tensor) -> torch.Tensor:
            return logits

    with pytest.raises(UserError, match="vLLM has none like Odd; allowed with rollout=vllm: ancestral, top_p"):
        sampling_fields(Sampling(1.0, Odd()))


def test_weights_are_handed_over_once_a_version_and_proven(served: tuple[str, Stub]) -> None:
    address, stub = served
    first, second, sampling = tiny_model(0, **PLAIN), tiny_model(1, **PLAIN), Sampling(1.0, Ancestral())
    engine = spec(address).open(first)
    assert stub.calls == []
    for version, model in ((0, first), (0, first), (1, second)):
        engine.refresh(model, version)
        found = engine.generate(ASKS, sampling)
        assert [one.ids for one in found] == [one.ids for one in HFEngine(model, 1).generate(ASKS, sampling)]
    assert [call["method"] for call in stub.calls] == ["reload_weights"] * 2
    stub.stale = True
    with pytest.raises(RunError, match=r"its log-probs are .* nats off the student's on average"):
        engine.refresh(tiny_model(2, **PLAIN), 2)
    engine.close()


def test_the_folder_of_weights_goes_with_the_engine(served: tuple[str, Stub], tmp_path: Path) -> None:
    engine = spec(served[0]).open(tiny_model(0, **PLAIN))
    engine.refresh(tiny_model(0, **PLAIN), 0)
    folder = Path(served[1].calls[0]["kwargs"]["weights_path"])
    assert (folder / "model.safetensors").is_file()
    engine.close()
    assert not folder.exists()
    engine = spec(served[0], weights_folder=str(tmp_path / "w")).open(tiny_model(0, **PLAIN))
    engine.refresh(tiny_model(0, **PLAIN), 0)
    engine.close()
    assert (tmp_path / "w" / "model.safetensors").is_file()


def test_a_dead_server_is_left_out_and_told_until_it_has_the_newest_weights(
    served: tuple[str, Stub], caplog: pytest.LogCaptureFixture
) -> None:
    student, sampling, port = tiny_model(0, **PLAIN), Sampling(1.0, Ancestral()), free_port()
    expected = [one.ids for one in HFEngine(student, 1).generate(ASKS, sampling)]
    with stubbed(tiny_model(8, **PLAIN), port) as (other, stub):
        engine = spec(other, served[0]).open(student)
        engine.refresh(student, 0)
        assert [one.ids for one in engine.generate(ASKS, sampling)] == expected
        assert stub.requests
    assert [one.ids for one in engine.generate(ASKS, sampling)] == expected
    assert f"rollout: {other} is left out for now" in caplog.text
    with stubbed(tiny_model(8, **PLAIN), port) as (_, stub):  # it came back with weights of its own
        assert [one.ids for one in engine.generate(ASKS, sampling)] == expected
        assert not stub.requests
        engine.refresh(student, 1)
        stub.requests.clear()
        assert [one.ids for one in engine.generate(ASKS, sampling)] == expected
        assert stub.requests
    engine.close()


def test_the_only_server_is_waited_for_and_prepared_again() -> None:
    student, sampling, port = tiny_model(0, **PLAIN), Sampling(1.0, Ancestral()), free_port()
    expected = [one.ids for one in HFEngine(student, 1).generate(ASKS, sampling)]
    with stubbed(tiny_model(8, **PLAIN), port) as (address, _):
        engine = spec(address).open(student)
        engine.refresh(student, 0)
    with stubbed(tiny_model(8, **PLAIN), port):
        assert [one.ids for one in engine.generate(ASKS, sampling)] == expected
    engine.close()


def test_refusals_are_one_line(served: tuple[str, Stub]) -> None:
    student = tiny_model(0, **PLAIN)
    nobody = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=rf"rollout\.servers: no server answers at {nobody} .*VLLM_SERVER_DEV_MODE=1"):
        spec(nobody).open(student)
    with pytest.raises(UserError, match=r"together 532, more than the 512 tokens of http"):
        spec(served[0], max_new_tokens=500).open(student)
    for changes, line in (
        ({"engine_cap": 1.0}, r"rollout\.engine_cap=1\.0 must be above 1"),
        ({"engine_correction": "all"}, r"rollout\.engine_correction='all' is not one of none, token_tis"),
        ({"gap_limit": 0.0}, r"rollout\.gap_limit=0\.0 must be above 0"),
        ({"python": "python"}, r"rollout\.servers are given, so none is started"),
        ({"max_new_tokens": 0}, r"rollout\.max_new_tokens=0"),
        ({"sleep": True}, r"rollout\.sleep=true: others may ask rollout\.servers; allowed: rollout\.servers=null"),
    ):
        with pytest.raises(UserError, match=line):
            spec(served[0], **changes)
    with pytest.raises(UserError, match=r"rollout\.python='/nowhere/this' can't be started"):
        VLLMRollout(python="/nowhere/this").open(student)
    with pytest.raises(UserError, match=r"rollout\.engine\.max_new_tokens=16 is below rollout\.max_new_tokens"):
        EpisodeRollout(max_new_tokens=32, max_prompt_tokens=32, engine=spec(served[0]))


def test_corrections_are_their_formulas() -> None:
    student = torch.tensor([[0.0, 1.0, 5.0], [-1.0, -1.0, 0.0]])
    engine = torch.zeros(2, 3)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    plain = EngineCorrection().weights(student, engine, mask)
    assert plain.tolist() == mask.float().tolist()
    weights = EngineCorrection("token_tis", 2.0).weights(student, engine, mask)
    ratio = torch.tensor([[1.0, 2.0, 0.0], [0.36787944, 0.36787944, 1.0]])
    torch.testing.assert_close(weights, ratio)
    kept = EngineCorrection("sequence_mask", 3.0).weights(student, engine, mask)
    assert kept.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]  # e and e^-2
    found = gap_metrics(student, engine + 0.05, mask)
    assert found["engine/log_prob_gap_max"] == pytest.approx(1.05)
    assert found["engine/log_prob_gap_mean"] == pytest.approx((0.05 + 0.95 + 1.05 + 1.05 + 0.05) / 5)
    assert found["engine/log_prob_gap_share"] == pytest.approx(3 / 5)


def test_a_run_with_both_served_is_the_run_in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pair = save_pair(tmp_path)
    rows = 264  # a loaded model has the rows of its lm_head
    with (
        stubbed(replace(tiny_model(9), vocabulary=rows)) as (address, stub),
        running(replace(tiny_model(1), vocabulary=rows)) as served,
    ):
        there = [
            "rollout=vllm", f"rollout.servers=[{address}]", "teacher=remote", f"teacher.servers=[{served}]",
            "rollout.engine_correction=token_tis",
        ]  # fmt: skip
        assert main(["train", *pair[:2], *there, *SHORT, "run_dir=there"]) == 0
    assert len(stub.calls) == 2
    assert main(["train", *pair, *SHORT, "run_dir=here"]) == 0
    ours, theirs = (read_steps(tmp_path / name / "metrics.jsonl") for name in ("there", "here"))
    assert max(row["engine/log_prob_gap_max"] for row in ours) < 1e-4
    for one, other in zip(ours, theirs, strict=True):
        assert one["rollout/length_mean"] == other["rollout/length_mean"]
        for name in ("train/loss", "train/grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=2e-3)


def test_adapters_alone_go_to_a_server_with_the_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    adapted = [*save_pair(tmp_path), *SHORT, "adapter=lora", "adapter.r=3", "optim.lr=1e-1"]
    with stubbed(replace(tiny_model(0), vocabulary=264)) as (address, stub):
        there = ["rollout=vllm", f"rollout.servers=[{address}]", "rollout.adapters=alone"]
        assert main(["train", *adapted, *there, "run_dir=there"]) == 0
    assert [call["lora_name"] for call in stub.calls] == ["student-0", "student-1"]
    assert [*stub.adapters] == ["student-1"]
    assert main(["train", *adapted, "run_dir=here"]) == 0
    ours, theirs = (read_steps(tmp_path / name / "metrics.jsonl") for name in ("there", "here"))
    assert max(row["engine/log_prob_gap_max"] for row in ours) < 1e-4
    for one, other in zip(ours, theirs, strict=True):
        for name in ("rollout/length_mean", "train/loss", "train/grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=2e-3)


def test_weights_that_are_no_adapters_alone_are_refused(served: tuple[str, Stub], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rollout\.adapters=apart: must be one of merged, alone"):
        spec(served[0], adapters="apart")
    with pytest.raises(UserError, match=r"rollout\.sleep=true: a server that sleeps forgets the base"):
        VLLMRollout(sleep=True, adapters="alone")
    alone = spec(served[0], adapters="alone")
    with pytest.raises(UserError, match=r"rollout\.adapters=alone: no adapter is trained; allowed: .*merged"):
        alone.open(tiny_model(0))
    base = ModelSpec(str(tmp_path))
    for lora, said in ((LoRA(r=2, modules_to_save=("norm",)), "whole modules"), (LoRA(r=600), "adapter.r above 512")):
        with pytest.raises(UserError, match=rf"rollout\.adapters=alone: {said}"):
            alone.open(lora.attach(tiny_model(0), base, None))
    student = LoRA(r=2).attach(tiny_model(0, **PLAIN), base, None)
    engine = alone.open(student)
    with pytest.raises(RunError, match=r"its log-probs are .* nats off"):  # the server has another base
        engine.refresh(student, 0)
    engine.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_several_processes_write_with_the_same_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = {"plain": (), "fsdp2": ("shard=fsdp2",), "adapted": ("adapter=lora", "adapter.r=2", "adapter.merge=true")}
    kinds["both"] = (*kinds["fsdp2"], *kinds["adapted"])
    bases = stubbed(replace(tiny_model(0), vocabulary=264))
    with stubbed(replace(tiny_model(9), vocabulary=264)) as (address, stub), bases as (base, _):
        asked = [*save_pair(tmp_path), *SHORT, "rollout=vllm", f"rollout.servers=[{address}]", "optim.lr=1e-2"]
        alone = [*kinds["both"], f"rollout.servers=[{base}]", "rollout.adapters=alone"]
        runs = {name: [*asked, *kind] for name, kind in kinds.items()} | {"alone": [*asked[:-2], asked[-1], *alone]}
        train_together(2, runs, tmp_path)
        assert len(stub.calls) == 2 * len(kinds)  # one process hands over
        for name in ("plain", "adapted"):
            assert main(["train", *asked, *kinds[name], f"run_dir=one-{name}"]) == 0
    for name in runs:
        one = "plain" if name in ("plain", "fsdp2") else "adapted"
        found = [read_steps(tmp_path / run / "metrics.jsonl") for run in (name, f"one-{one}")]
        for ours, theirs in zip(*found, strict=True):
            assert ours["engine/log_prob_gap_max"] < 1e-4
            for key in ("rollout/length_mean", "train/loss", "train/grad_norm"):
                assert ours[key] == pytest.approx(theirs[key], rel=5e-6), (name, key)


def read_steps(file: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row for row in rows if "train/loss" in row]
