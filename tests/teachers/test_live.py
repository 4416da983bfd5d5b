"""The student as its own teacher: which weights score, what is copied, and what a checkpoint keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import HFRollout
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.runs import checkpoint
from opdkit.samplers import Ancestral
from opdkit.teachers import OpenTeacher, SelfTeacher, Teacher, TeacherContext, open_teachers
from tests.tiny import rendered, tiny_model, tiny_problems, written


@pytest.fixture
def student() -> LanguageModel:
    return tiny_model(0)


@pytest.fixture
def rollout(student: LanguageModel) -> Rollout:
    return written(HFRollout(8, 64), student, rendered(student, tiny_problems(3)), Ancestral(), 1.0, [1, 2, 3])


def context(student: LanguageModel) -> TeacherContext:
    return TeacherContext("cpu", student, 1.0, MicroBatch(2))


def log_prob(teacher: OpenTeacher, rollout: Rollout) -> Tensor:
    found = teacher.score(rollout, rollout.sampled_mask, Request(sampled=True)).sampled_log_prob
    assert found is not None
    return found


def own(student: LanguageModel, rollout: Rollout) -> Tensor:
    with torch.no_grad():
        return Scorer(student)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0).sampled_log_prob


@torch.no_grad()
def step(student: LanguageModel, size: float = 0.1) -> None:
    for parameter in student.module.parameters():
        parameter.add_(size * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))


def test_live_is_the_student_as_it_stands_without_a_copy(student: LanguageModel, rollout: Rollout) -> None:
    teacher = SelfTeacher("live").open(context(student))
    for _ in range(2):
        torch.testing.assert_close(log_prob(teacher, rollout), own(student, rollout))
        step(student)
    assert teacher.bytes() == 0
    assert teacher.state() == {}


def test_what_live_said_of_the_vocabulary_stays_when_the_student_moves(
    student: LanguageModel, rollout: Rollout
) -> None:
    for parameter in student.module.parameters():
        parameter.requires_grad_()
    teacher = SelfTeacher("live").open(context(student))
    said = teacher.score(rollout, rollout.sampled_mask, Request(vocabulary=True))
    assert said.head is not None
    assert not said.head.weight.requires_grad
    before = said.head.weight.clone()
    step(student)
    assert torch.equal(said.head.weight, before)


def test_start_stays_and_refreshed_follows_every_so_many_steps(student: LanguageModel, rollout: Rollout) -> None:
    start = SelfTeacher("start").open(context(student))
    refreshed = SelfTeacher("refreshed", every=2).open(context(student))
    first = own(student, rollout)
    seen: list[Tensor] = [first]
    for number in range(4):
        step(student)
        seen.append(own(student, rollout))
        for teacher in (start, refreshed):
            teacher.after_update(number)
        torch.testing.assert_close(log_prob(start, rollout), first)
        torch.testing.assert_close(log_prob(refreshed, rollout), seen[(number + 1) // 2 * 2])
    assert start.bytes() > 0


def test_an_average_is_the_sum_written_out(student: LanguageModel) -> None:
    teacher = SelfTeacher("ema", rate=0.25).open(context(student))
    name, parameter = next(iter(student.module.named_parameters()))
    expected = parameter.detach().double()
    for number in range(3):
        step(student)
        teacher.after_update(number)
        expected = 0.75 * expected + 0.25 * parameter.detach().double()
    torch.testing.assert_close(teacher.state()[name].double(), expected, rtol=1e-6, atol=1e-6)


def test_fewer_ids_are_the_same_weights(student: LanguageModel, rollout: Rollout) -> None:
    teacher = SelfTeacher("refreshed", every=1).open(context(student)).restricted(260)
    step(student)
    teacher.after_update(0)
    torch.testing.assert_close(log_prob(teacher, rollout), own(student.restricted(260), rollout))


@pytest.mark.parametrize("kind", ["start", "refreshed", "ema"])
def test_its_state_comes_back_from_a_checkpoint_bit_for_bit(
    kind: str, student: LanguageModel, rollout: Rollout, tmp_path: Path
) -> None:
    spec = SelfTeacher(kind, every=3)  # pyright: ignore[reportArgumentType]
    teacher = spec.open(context(student))
    step(student)
    teacher.after_update(0)
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.1)
    live = SelfTeacher("live").open(context(student))
    states = [live.state(), {**teacher.state(), "count": 3}]
    checkpoint.write(tmp_path, 1, checkpoint.Content(lambda beside: None, optimizer, {}, states), 1)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    nothing, kept = checkpoint.teacher_states(found)
    assert (nothing, kept.pop("count")) == ({}, 3)
    again = spec.open(context(student))  # of a student that has moved
    assert not torch.equal(log_prob(again, rollout), log_prob(teacher, rollout))
    again.restore(kept)
    assert torch.equal(log_prob(again, rollout), log_prob(teacher, rollout))


def test_it_is_never_read_from_disk_again(student: LanguageModel) -> None:
    teachers: dict[str, Teacher] = {"a": SelfTeacher("ema"), "b": SelfTeacher("ema"), "c": SelfTeacher("live")}
    opened = open_teachers(teachers, context(student), offload=True)
    assert opened["a"] is opened["b"]
    assert opened["a"] is not opened["c"]
    assert opened["a"].state()


@pytest.mark.parametrize("wrong", [{"kind": "older"}, {"every": 0}, {"rate": 0.0}, {"rate": 1.5}])
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=rf"teacher\.{name}="):
        SelfTeacher(**wrong)  # pyright: ignore[reportArgumentType]
