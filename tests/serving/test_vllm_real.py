"""A real vLLM on this machine's CPU: it writes with the student's weights, and scores as a teacher.

OPDKIT_VLLM_PYTHON=ENV/bin/python make test-vllm      (how to make ENV: tests/text/test_vllm.py)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from opdkit.api.commands import evaluate
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Message, Problem
from opdkit.errors import UserError
from opdkit.generation import Ask, Engine, HFRollout, Sampling, Turn, VLLMRollout, pack
from opdkit.generation.vllm_engine import VLLMEngine
from opdkit.models import LanguageModel, LoRA, ModelSpec, Request, Scorer, load
from opdkit.samplers import Ancestral, Greedy, TopP
from opdkit.teachers import OpenLocalTeacher, TeacherContext, VLLMTeacher

PYTHON = os.environ.get("OPDKIT_VLLM_PYTHON")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(PYTHON is None, reason="OPDKIT_VLLM_PYTHON names no environment with vLLM"),
]
# Few tokens at once, so that requests which arrive together exceed them.
OPTIONS = ["--dtype", "float32", "--enforce-eager", "--max-logprobs", "64"]
OPTIONS += ["--max-num-batched-tokens", "192", "--max-num-seqs", "64"]
CHAT = Problem("p", (Message("user", "Work out 3 + 4 - 5 + 9 step by step."),), "11")
# The embedded pair has one architecture and one tokenizer, with a tied lm_head: what the CPU build of vLLM gets wrong.
STUDENT = load(ModelSpec("embedded/student"), "cpu")
TEACHER = load(ModelSpec("embedded/teacher"), "cpu")


@contextmanager
def opened(student: LanguageModel, **changes: Any) -> Iterator[Engine]:
    """An engine whose server this test starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("VLLM_CPU_KVCACHE_SPACE", "1"), ("TORCHDYNAMO_DISABLE", "1")):
            patch.setenv(name, value)
        engine = VLLMRollout(100, 60, python=PYTHON, options=OPTIONS, **changes).open(student)
        yield engine
        engine.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with opened(STUDENT) as engine:
        yield engine


def asks(count: int) -> list[Ask]:
    return [Ask(tuple(STUDENT.render(CHAT.messages)), 2**62 + i, 100) for i in range(count)]


def test_each_version_of_the_weights_is_proven_and_writes(engine: Engine) -> None:
    sampling = Sampling(1.0, Greedy())
    for version, model in enumerate((STUDENT, TEACHER, STUDENT)):
        engine.refresh(model, version)
        (ours,) = engine.generate(asks(1), sampling)
        (theirs,) = HFRollout(100, 60).open(model).generate(asks(1), sampling)
        assert (ours.ids, ours.stop_reason) == (theirs.ids, theirs.stop_reason)


def test_log_probs_are_the_students_and_a_row_does_not_depend_on_those_beside_it(engine: Engine) -> None:
    engine.refresh(STUDENT, 10)
    found = engine.generate(asks(6), Sampling(1.0, TopP(0.9)))
    (alone,) = engine.generate(asks(6)[3:4], Sampling(1.0, TopP(0.9)))
    assert alone.ids == found[3].ids
    assert len({one.ids for one in found}) > 1
    rows = [(Turn(ask.prompt_ids, one),) for ask, one in zip(asks(6), found, strict=True)]
    rollout = pack(STUDENT, rows, [CHAT] * 6)
    own = Scorer(STUDENT)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0).sampled_log_prob
    assert own is not None
    assert rollout.engine_log_prob is not None
    torch.testing.assert_close(rollout.engine_log_prob, own.detach(), atol=2e-4, rtol=1e-4)


def test_more_prompts_than_a_pass_reads_are_written_too(engine: Engine) -> None:
    """Seeded requests with more prompt tokens than are read at once: the CPU build ended where one was read in part."""
    engine.refresh(STUDENT, 15)
    generator = torch.Generator().manual_seed(0)
    prompts = torch.randint(1, STUDENT.vocabulary, (96, 58), generator=generator).tolist()
    many = [Ask(tuple(prompt), 2**62 + i, 3) for i, prompt in enumerate(prompts)]
    found = engine.generate(many, Sampling(1.0, Ancestral()))
    assert engine.generate(many[40:41], Sampling(1.0, Ancestral()))[0].ids == found[40].ids


def test_its_processes_rest_between_batches(engine: Engine) -> None:
    """They would spin for a second, on the cores that the update computes on."""
    engine.refresh(STUDENT, 18)
    engine.generate(asks(2), Sampling(1.0, Greedy()))
    time.sleep(0.1)
    before, started = _cpu_seconds(), time.monotonic()
    time.sleep(0.6)
    assert _cpu_seconds() - before < 0.3 * (time.monotonic() - started)


def _cpu_seconds() -> float:
    """The CPU time so far of this process's children, which are the server's."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def test_it_is_a_teacher_too(engine: Engine) -> None:
    engine.refresh(TEACHER, 20)
    assert isinstance(engine, VLLMEngine)
    written = HFRollout(40, 60).open(STUDENT).generate(asks(3), Sampling(1.0, Ancestral()))
    rows = [(Turn(ask.prompt_ids, one),) for ask, one in zip(asks(3), written, strict=True)]
    rollout = pack(STUDENT, rows, [CHAT] * 3)
    spec: dict[str, Any] = {"servers": engine.addresses, "patience": 30.0}
    teacher = VLLMTeacher(**spec).open(TeacherContext("cpu", STUDENT, 1.0, MicroBatch(2)))
    teacher.check(STUDENT)
    request = Request(sampled=True, top_k=32, normaliser=True)
    ours = teacher.score(rollout, rollout.sampled_mask, request)
    theirs = OpenLocalTeacher(TEACHER, 1.0, MicroBatch(2)).score(rollout, rollout.sampled_mask, request)
    assert ours.support_logits is not None
    assert theirs.support_logits is not None
    assert theirs.logsumexp is not None
    torch.testing.assert_close(ours.sampled_log_prob, theirs.sampled_log_prob, atol=2e-4, rtol=1e-4)
    mask = rollout.sampled_mask[..., None]
    expected = ((theirs.support_logits - theirs.logsumexp[..., None]) * mask).detach()
    torch.testing.assert_close(ours.support_logits, expected, atol=5e-4, rtol=1e-4)
    with pytest.raises(UserError, match="start it with --max-logprobs 65"):
        teacher.score(rollout, rollout.sampled_mask, Request(top_k=65))
    teacher.close()


@pytest.mark.parametrize("drawn", [(), ("sampler=top_p", "n_samples=4")], ids=["greedy", "sampled"])
def test_it_answers_benchmarks(
    drawn: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    """One server that the evaluation starts, and one at a given address: the same rows, and greedy those of here."""
    for name, value in (("VLLM_CPU_KVCACHE_SPACE", "1"), ("TORCHDYNAMO_DISABLE", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert isinstance(engine, VLLMEngine)
    engine.refresh(STUDENT, 30)
    asked = ["model=embedded", "benchmark=chain_sum,chain_sum_short", "benchmark.limit=8", *drawn]
    asked += ["benchmark.max_new_tokens=60", "max_prompt_tokens=100"]
    options = [f"rollout.python={PYTHON}", f"rollout.options=[{','.join(OPTIONS)}]"]
    started = evaluate([*asked, "rollout=vllm", *options, "run_dir=started"], quiet=True)
    served = evaluate([*asked, "rollout=vllm", f"rollout.servers={[*engine.addresses]}", "run_dir=served"], quiet=True)
    here = evaluate([*asked, "run_dir=here"], quiet=True)
    for name in ("chain_sum", "chain_sum_short"):
        rows = started.responses_to(name)
        assert all(row["text"] for row in rows)
        assert rows == served.responses_to(name)
        assert [(row["problem"], row["seed"]) for row in rows] == [
            (row["problem"], row["seed"]) for row in here.responses_to(name)
        ]
        if drawn:
            assert len({row["text"] for row in rows if row["problem"] == rows[0]["problem"]}) > 1
        else:
            assert rows == here.responses_to(name)


def test_adapters_alone_are_proven_and_write() -> None:
    """The server holds the base. Each version of the adapters writes as it does here, also the first, which is none."""
    spec = ModelSpec("embedded/student")
    student = LoRA(r=4).attach(load(spec, "cpu"), spec, None)
    factors = [p for name, p in student.own_parameters().items() if "lora_B" in name]
    generator = torch.Generator().manual_seed(0)
    written: list[tuple[int, ...]] = []
    with opened(student, adapters="alone", gap_limit=1e-4) as engine:
        for version in range(3):
            engine.refresh(student, version)
            (ours,) = engine.generate(asks(1), Sampling(1.0, Greedy()))
            (theirs,) = HFRollout(100, 60).open(student).generate(asks(1), Sampling(1.0, Greedy()))
            assert (ours.ids, ours.stop_reason) == (theirs.ids, theirs.stop_reason)
            written.append(ours.ids)
            with torch.no_grad():
                for factor in factors:
                    factor.add_(torch.randn(factor.shape, generator=generator), alpha=0.1)
    assert len(set(written)) > 1


def test_a_build_without_sleep_mode_is_refused() -> None:
    with pytest.raises(UserError, match=r"rollout\.sleep=true: vLLM has no sleep mode on this device \(cpu\)"):
        VLLMRollout(100, 60, python=PYTHON, options=OPTIONS, sleep=True).open(STUDENT)


def test_an_interpreter_without_vllm_is_named(tmp_path: Path) -> None:
    import sys

    with pytest.raises(UserError, match=r"rollout\.python: .* has no vLLM; name an interpreter"):
        VLLMRollout(python=sys.executable).open(STUDENT)
