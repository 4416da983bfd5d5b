"""How much of a response is written, and by whom: schedules, prefixes by hand, limits that change nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.errors import UserError
from opdkit.generation import HFRollout, Sampling, pack
from opdkit.generation.base import Ask, Completion
from opdkit.samplers import Ancestral, Greedy
from opdkit.training.writing import WHOLE, Schedule, Shape, Writing, behind_prefixes
from tests.tiny import tiny_model, tiny_problems


@given(
    start=st.integers(0, 99), stop=st.integers(0, 99), steps=st.integers(1, 50),
    shape=st.sampled_from(["linear", "cosine"]),
)  # fmt: skip
def test_a_schedule_goes_from_start_to_stop_and_stays(start: int, stop: int, steps: int, shape: Shape) -> None:
    schedule = Schedule(start, stop, steps, shape)
    found = [schedule.at(step) for step in range(steps + 3)]
    assert found[0] == start
    assert found[-1] == stop or steps == 1
    assert found == sorted(found, reverse=stop < start)
    assert all(min(start, stop) <= value <= max(start, stop) for value in found)


def test_a_cosine_is_half_way_at_half_time_and_flat_at_its_ends() -> None:
    schedule = Schedule(1000, 0, 101, "cosine")
    assert schedule.at(50) == 500
    assert schedule.at(10) == round(500 * (1 + math.cos(math.pi / 10)))
    assert Schedule(1000, 0, 101).at(10) == 900


def test_limits_leave_a_token_to_the_student() -> None:
    assert WHOLE.limit(3, 48) == 48
    assert WHOLE.prefix_at(3, 48) == 0
    writing = Writing(Schedule(0, 100, 2), Schedule(100, 0, 2))
    assert [writing.limit(step, 48) for step in range(2)] == [1, 48]
    assert [writing.prefix_at(step, 48) for step in range(2)] == [47, 0]


def test_the_student_goes_on_from_what_the_teacher_began() -> None:
    student, teacher = tiny_model(0), tiny_model(1)
    problems = tiny_problems(4)
    engines = [HFRollout(12, 64).open(model) for model in (student, teacher)]
    asks = [Ask(tuple(student.render(p.messages)), seed, 12) for seed, p in enumerate(problems)]
    greedy = Sampling(1.0, Greedy())
    go_on, begin = (lambda asked, engine=engine: engine.generate(asked, greedy) for engine in engines)
    rollout = pack(student, behind_prefixes(go_on, begin, asks, 5), problems)
    for row, ask in enumerate(asks):
        begun = engines[1].generate([Ask(ask.prompt_ids, 0, 5)], greedy)[0]
        head = begun.ids[:-1] if begun.stop_reason == "stop" else begun.ids
        (tail,) = engines[0].generate([Ask((*ask.prompt_ids, *head), 0, 12 - len(head))], greedy)
        length = len(head) + len(tail.ids)
        assert rollout.tokens[row, :length].tolist() == [*head, *tail.ids]
        assert rollout.sampled_mask[row, :length].tolist() == [False] * len(head) + [True] * len(tail.ids)
        assert rollout.attention_mask[row].sum() == length
        assert rollout.stop_reason[row] == tail.stop_reason
    assert rollout.scored
    assert rollout.environment_mask is not None
    torch.testing.assert_close(rollout.behaviour_log_prob[~rollout.sampled_mask], torch.zeros(()).expand(
        int((~rollout.sampled_mask).sum())
    ))  # fmt: skip


def test_a_prefix_has_randomness_of_its_own() -> None:
    model = tiny_model(0)
    engine = HFRollout(12, 64).open(model)
    asks = [Ask(tuple(model.render(p.messages)), 7, 12) for p in tiny_problems(2)]

    def write(asked: Sequence[Ask]) -> list[Completion]:
        return engine.generate(asked, Sampling(1.0, Ancestral()))

    first, second = (behind_prefixes(write, write, asks, 4) for _ in range(2))
    assert first[0][1].prompt_ids == second[0][1].prompt_ids
    other = [Ask(ask.prompt_ids, 8, 12) for ask in asks]
    changed = behind_prefixes(write, write, other, 4)
    assert [row[1].prompt_ids for row in changed] != [row[1].prompt_ids for row in first]


@pytest.mark.parametrize(
    ("values", "told"),
    [((-1, 0, 3), "start=-1"), ((1, 0, 0), "steps=0 must be at least 1"), ((1, 0, 3, "step"), "shape='step'")],
)
def test_refuses_a_schedule_that_is_none(values: tuple[int, int, int], told: str) -> None:
    with pytest.raises(UserError, match=told):
        Schedule(*values)
