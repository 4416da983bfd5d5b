"""What samples.jsonl and the diagnostics are given of a step."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.scores import Scores
from opdkit.data.table import Table
from opdkit.diagnostics import Finding, Observation
from opdkit.training.observe import StepObserver
from tests.tiny import tiny_model

TEXT = "é = 4"  # six bytes, six tokens


@pytest.fixture(scope="module")
def student() -> Any:
    return tiny_model(0)


def collected(student: Any, teacher: Scores, **changes: Any) -> Any:
    """One rollout that says TEXT and stops, and one that says its first two bytes; token 2 of the first is masked."""
    ids = [*student.tokenizer.encode(TEXT, add_special_tokens=False), 257]
    tokens = torch.tensor([ids, [*ids[:2], *[256] * 5]])
    mask = torch.tensor([[True] * 7, [True] * 2 + [False] * 5])
    loss_mask = mask.clone()
    loss_mask[0, 2] = False
    problems = tuple(Problem(f"p{i}", (Message("user", "what?"),), "4") for i in range(2))
    prompts = Prompts(tokens[:, :1], mask[:, :1], problems)
    log_prob = torch.where(mask, -0.5, 0.0)
    rollout = replace(Rollout(prompts, tokens, mask, log_prob, -log_prob, ("stop", "length")), **changes)
    batch = SimpleNamespace(rollout=rollout, loss_mask=loss_mask & rollout.sampled_mask, teacher=teacher)
    return SimpleNamespace(batch=batch, grades=(Grade.of(True, "4"), Grade.of(False)), responses=(TEXT, "é"))


def test_a_sample_has_text_ratio_and_mask_of_each_token(student: Any) -> None:
    teacher = Scores(sampled_log_prob=torch.full((2, 7), -1.25))
    first, second = StepObserver(student, {}).samples(collected(student, teacher), 5)
    assert first["token_texts"] == ["", "é", " ", "=", " ", "4", "<eos>"]
    assert first["log_ratio"] == [0.75, 0.75, None, 0.75, 0.75, 0.75, 0.75]
    assert first["counted"] == [True, True, False, True, True, True, True]
    assert (second["token_texts"], second["tokens"], second["stop_reason"]) == (["", "é"], 2, "length")


def test_tokens_of_an_environment_are_shown_and_not_counted(student: Any) -> None:
    given = torch.zeros(2, 7, dtype=torch.bool)
    given[0, 3:5] = True
    step = collected(student, Scores(sampled_log_prob=torch.full((2, 7), -1.25)), environment_mask=given)
    mask = step.batch.rollout.sampled_mask & ~given
    step = collected(student, step.batch.teacher, environment_mask=given, sampled_mask=mask)
    (first,) = StepObserver(student, {}).samples(step, 1)
    assert len(first["token_texts"]) == 7
    assert first["tokens"] == 5
    assert first["log_ratio"][3:5] == [None, None]


def test_without_the_teacher_there_is_no_ratio_and_no_finding(student: Any) -> None:
    step = collected(student, Scores())
    assert StepObserver(student, {}).samples(step, 1)[0]["log_ratio"] == [None] * 7
    assert StepObserver(student, {"never": pytest.fail}).diagnose(step).scalars.keys() == {"time/diagnostics_s"}


def test_a_diagnostic_sees_the_step_and_its_words_are_kept(student: Any) -> None:
    def look(seen: Observation) -> Finding:
        assert seen.gap[0].tolist() == [-0.75, -0.75, 0, -0.75, -0.75, -0.75, -0.75]
        assert seen.teacher_entropy is None
        assert seen.stop_ids == {257}
        assert np.array_equal(seen.written, seen.rollout.sampled_mask.numpy())
        return Finding({"x": 2.0}, (Table("t", ("a",), ((1,),)),))

    teacher = Scores(sampled_log_prob=torch.full((2, 7), -1.25))
    found = StepObserver(student, {"look": look}).diagnose(collected(student, teacher))
    assert found.scalars["failure/x"] == 2.0
    assert [table.name for table in found.tables] == ["t"]


def test_a_long_response_is_cut(student: Any) -> None:
    step = collected(student, Scores())
    tokens = torch.full((1, 20_010), 65)
    mask = tokens > 0
    long = Rollout(step.batch.rollout.prompts, tokens, mask, tokens.float(), tokens.float(), ("length",))
    step.batch = SimpleNamespace(rollout=long, loss_mask=mask, teacher=Scores())
    (first,) = StepObserver(student, {}).samples(step, 1)
    assert len(first["token_texts"]) == len(first["log_ratio"]) == len(first["counted"]) == 20_000
    assert first["tokens"] == 20_010
