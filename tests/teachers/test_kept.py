"""Scores that are kept on disk are those of the teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from opdkit.cli.main import main
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.data.rows import rollout_at
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.models import Request
from opdkit.teachers import KeptTeacher, OpenTeacher, PrivilegedTeacher, SelfTeacher, TeacherContext
from tests.invariants.conftest import merged, metrics, pair, train, weights  # noqa: F401
from tests.teachers.test_retokenized import STUDENT, STUDENT_MERGES, TEMPERATURE, Held, model, rollout_of

ROLLOUT = rollout_of(STUDENT)
MASK = ROLLOUT.sampled_mask
GIVEN = torch.arange(4).expand(*MASK.shape, 4)
REQUESTS = {
    "sampled": Request(sampled=True),
    "best": Request(top_k=3, normaliser=True, stats_k=5),
    "given": Request(support_ids=GIVEN, sampled=True),
    "union": Request(top_k=3, support_ids=GIVEN, include_sampled=True),
}


def opened(folder: Path, seed: int = 3) -> OpenTeacher:
    context = TeacherContext("cpu", STUDENT, TEMPERATURE, batch=MicroBatch(3))
    return KeptTeacher(Held(model(seed, STUDENT_MERGES)), str(folder)).open(context)


def plain() -> OpenTeacher:
    return Held(model(3, STUDENT_MERGES)).open(TeacherContext("cpu", STUDENT, TEMPERATURE, batch=MicroBatch(3)))


def same(one: Scores, two: Scores) -> None:
    for name in Scores.tensors():
        a, b = getattr(one, name), getattr(two, name)
        assert (a is None) == (b is None), name
        assert a is None or torch.equal(a, b), name
    assert one.temperature == two.temperature


@pytest.mark.parametrize("name", REQUESTS)
def test_first_and_second_time_are_the_inner_teacher(name: str, tmp_path: Path) -> None:
    expected = plain().score(ROLLOUT, MASK, REQUESTS[name])
    for share in (0.0, 1.0):
        teacher = opened(tmp_path)
        same(teacher.score(ROLLOUT, MASK, REQUESTS[name]), expected)
        assert teacher.metrics() == {"kept_share": share}


def test_rows_are_known_one_by_one(tmp_path: Path) -> None:
    teacher, request = opened(tmp_path), REQUESTS["best"]
    teacher.score(rollout_at(ROLLOUT, [2, 0]), MASK[[2, 0]], request)
    found = teacher.score(ROLLOUT, MASK, request)
    assert teacher.metrics() == {"kept_share": 0.5}
    expected = plain().score(ROLLOUT, MASK, request)
    for field in fields(Scores):
        if isinstance(value := getattr(expected, field.name), torch.Tensor):
            torch.testing.assert_close(getattr(found, field.name), value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("change", ["request", "mask", "teacher", "tokens"])
def test_what_is_asked_otherwise_is_asked_again(change: str, tmp_path: Path) -> None:
    opened(tmp_path).score(ROLLOUT, MASK, REQUESTS["sampled"])
    teacher = opened(tmp_path, seed=4 if change == "teacher" else 3)
    mask = MASK & (torch.arange(MASK.shape[1]) > 0) if change == "mask" else MASK
    request = REQUESTS["best" if change == "request" else "sampled"]
    rollout: Rollout = ROLLOUT
    if change == "tokens":
        rollout = rollout_of(STUDENT, ("another", "text", "in", "all"))
        mask = rollout.sampled_mask
    teacher.score(rollout, mask, request)
    assert teacher.metrics() == {"kept_share": 0.0}


def test_a_broken_file_is_written_again(tmp_path: Path) -> None:
    expected = opened(tmp_path).score(ROLLOUT, MASK, REQUESTS["sampled"])
    for file in tmp_path.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:20])
    teacher = opened(tmp_path)
    same(teacher.score(ROLLOUT, MASK, REQUESTS["sampled"]), expected)
    assert teacher.metrics() == {"kept_share": 0.0}


def test_teachers_that_change_or_are_told_more_are_refused(tmp_path: Path) -> None:
    context = TeacherContext("cpu", STUDENT, TEMPERATURE, batch=MicroBatch(3))
    with pytest.raises(UserError, match="changes while the student trains"):
        KeptTeacher(SelfTeacher("live"), str(tmp_path))
    told = PrivilegedTeacher(Held(STUDENT), "{question} {answer}")
    with pytest.raises(UserError, match="its scores can't be kept"):
        KeptTeacher(told, str(tmp_path)).open(context)
    assert not KeptTeacher(Held(STUDENT), "x").capabilities.vocabulary


def test_a_run_on_fixed_responses_is_the_one_without_a_folder(train: Callable[..., Path], pair: list[str]) -> None:  # noqa: F811
    asked = ("method=offline", "steps=3", "task.size=8")
    online = train("online", *asked)
    given = [
        text.replace("teacher.path", "teacher.inner.path").replace("teacher=local", "teacher=kept") for text in pair
    ]
    for name in ("first", "second"):
        assert main(["train", *merged(*given, *asked, "teacher.folder=kept", f"run_dir={name}")]) == 0
    first, second = (online.parent / name for name in ("first", "second"))
    assert metrics(first)[1]["data/teacher/kept_share"] == 0
    assert all(row["data/teacher/kept_share"] == 1 for row in metrics(second)[1:])
    assert weights(first) == weights(second)
    one, other = (metrics(run)[1]["train/loss"] for run in (first, online))
    assert one == other
