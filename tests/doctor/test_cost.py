"""The arithmetic of what a step costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from opdkit.doctor.cost import (
    ActivationBytes,
    Cost,
    Shapes,
    Timings,
    at_the_limits,
    compared,
    decoding_seconds,
    duration,
    estimate,
    estimated,
    too_large,
)
from opdkit.training.experiment import Batch

MIB = 2**20
BATCH = Batch(prompts=64, rollouts_per_prompt=1, mini_batch=16, micro_batch=8, epochs=2)
SHAPES = Shapes(
    student=100 * MIB, teacher=300 * MIB, trainable=100 * MIB, largest=7 * MIB, cache_row=MIB, rows_at_once=32,
    limit=200, batch=BATCH, steps=60,
)  # fmt: skip
TIMED = Timings((10, 30), rollout_s=3.0, teacher_s=0.5, update_s=1.0, decode=((2, 0.1), (32, 0.4)))
KEPT = ActivationBytes(total=400 * MIB, largest=20 * MIB, logits=5 * MIB, tokens=100, process=1000 * MIB, seen=0)


def test_a_decoding_step_costs_a_part_for_itself_and_one_for_each_row() -> None:
    # 0.1 = a + 2 b, 0.4 = a + 32 b: b = 0.01, a = 0.08; 30 steps and 40 tokens
    assert decoding_seconds((10, 30), 2, 32, TIMED.decode) == pytest.approx(30 * 0.08 + 40 * 0.01)
    # 64 rows in two batches of 32, 20 tokens each in the mean
    assert decoding_seconds((10, 30), 64, 32, TIMED.decode) == pytest.approx(2 * 30 * 0.08 + 64 * 20 * 0.01)
    assert decoding_seconds((5,), 4, 8, ((4, 0.2), (4, 0.2))) == pytest.approx(4 * 5 * 0.2 / 4)


def test_times_grow_with_rollouts_and_passes() -> None:
    cost = estimate(SHAPES, TIMED, KEPT)
    assert cost.rollout_s == pytest.approx(3.0 * (4.8 + 12.8) / (2.4 + 0.4))
    assert cost.teacher_s == pytest.approx(0.5 * 32)
    assert cost.update_s == pytest.approx(1.0 * 32 * 2)
    assert cost.step_s == pytest.approx(cost.rollout_s + 16 + 64)


def test_the_peak_is_that_of_the_hungrier_phase() -> None:
    learning = estimate(SHAPES, TIMED, KEPT).peak
    assert learning == (1000 + 200 + 100 + 400 + 3 * 20 + 4 * 5 + 7) * MIB
    many = Shapes(**{**vars(SHAPES), "cache_row": 100 * MIB})
    assert estimate(many, TIMED, KEPT).peak == (1000 + 200 + 32 * 125) * MIB
    seen = replace(KEPT, seen=5000 * MIB)
    assert estimate(SHAPES, TIMED, seen).peak == 5000 * MIB  # what a mini-batch has taken, a step takes, too
    assert at_the_limits(SHAPES, seen) == (5000 + 400 + 3 * 20) * MIB
    assert at_the_limits(SHAPES, KEPT) == (1000 + 200 + 100 + 800 + 3 * 40 + 4 * 5 + 7) * MIB


@pytest.mark.parametrize(
    ("room", "levels"), [(4000, ["ok", "ok"]), (2000, ["ok", "ok", "warning"]), (1500, ["ok", "warning"])]
)
def test_where_there_is_no_room_it_is_told(room: int, levels: list[str]) -> None:
    section = estimated(SHAPES, TIMED, KEPT, room * MIB)
    assert [note.level for note in section.notes] == levels
    assert all(note.advice for note in section.notes if note.level == "warning")


def test_what_can_not_fit_is_not_tried() -> None:
    assert too_large(SHAPES, 1000 * MIB, 1300 * MIB) is None
    section = too_large(SHAPES, 1000 * MIB, 1299 * MIB)
    assert section is not None
    assert section.notes[0].level == "warning"


@pytest.mark.parametrize(("real", "level"), [(8.1, "ok"), (13.2, "ok"), (13.5, "warning"), (7.9, "warning")])
def test_an_estimate_beside_a_real_step(real: float, level: str) -> None:
    guess = Cost(5.0, 1.0, 4.0, 100 * MIB)
    section = compared(guess, Cost(real - 5, 1.0, 4.0, 110 * MIB))
    assert [note.level for note in section.notes] == [level, "ok"]
    rows = {row[0]: row[1:] for row in section.grids[0].rows}
    assert rows["step, s"] == ("10", f"{real:.3g}", f"{10 / real:.2f}")
    assert rows["peak memory, MiB"] == ("100", "110", "0.91")


def test_durations() -> None:
    assert [duration(s) for s in (0.1234, 59.0, 120, 7200)] == ["0.123 s", "59 s", "2 min", "2.0 h"]
