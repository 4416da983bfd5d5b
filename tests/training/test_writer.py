"""Who writes the rollouts of a step (GKD's share)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from opdkit.training.collect import RolloutCollector


def _writers(share: float, steps: int, seed: int = 0) -> list[str]:
    experiment = SimpleNamespace(seed=seed, student_share=share)
    teacher = SimpleNamespace(model="teacher")
    collector = RolloutCollector("", experiment, None, "student", teacher, None)  # type: ignore[arg-type]
    return [str(collector._author(step)) for step in range(steps)]


def test_the_student_alone_by_default_and_the_teacher_alone_at_zero():
    assert {*_writers(1.0, 200)} == {"student"}
    assert {*_writers(0.0, 200)} == {"teacher"}


def test_the_share_is_met_and_a_step_draws_the_same_again():
    found = _writers(0.25, 2000)
    assert found.count("student") / 2000 == pytest.approx(0.25, abs=0.03)  # three standard errors
    assert found == _writers(0.25, 2000)
    assert found != _writers(0.25, 2000, seed=1)
