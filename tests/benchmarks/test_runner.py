"""Who runs when, what is left out, and what a fresh process answers."""

from __future__ import annotations

import pytest

from benchmarks import runner
from benchmarks.cases import Case, Entry
from benchmarks.runner import Plan, launch_process, run_case
from benchmarks.shapes import HeadShape, to_json

SHAPE = HeadShape(positions=8, vocabulary=50, width=4, k=4)


def case_of(*contestants, **more):
    return Case(
        "small", "Small", "comparison", tuple(Entry(name, SHAPE) for name in contestants), "logits_head", **more
    )


CASE = case_of("opdkit_head", "logits_head")
ANSWER = {"seconds": [2.0, 1.0], "cpu_seconds": [2.0, 1.0], "losses": [0.5], "extra_mib": 4.0, "gradient_mib": 1.0}


def test_contestants_take_turns_and_the_order_turns_round():
    seen, weighs = [], []

    def launch(job):
        seen.append(job["contestant"])
        weighs.append(job["weighs"])
        return ANSWER

    found = run_case(CASE, Plan(repeats=3), lambda line: None, launch)
    assert seen == ["opdkit_head", "logits_head", "logits_head", "opdkit_head", "opdkit_head", "logits_head"]
    assert weighs == [True] * 2 + [False] * 4
    assert [len(found[name]["repeats"]) for name in ("opdkit_head", "logits_head")] == [3, 3]


def test_a_case_may_take_fewer_repeats_than_the_plan():
    found = run_case(case_of("opdkit_head", most_repeats=1), Plan(repeats=3), lambda line: None, lambda job: ANSWER)
    assert len(found["opdkit_head"]["repeats"]) == 1


def test_one_that_fails_is_left_out_and_the_others_go_on():
    def launch(job):
        return {"error": "out of memory"} if job["contestant"] == "opdkit_head" else ANSWER

    lines: list[str] = []
    found = run_case(CASE, Plan(repeats=2), lines.append, launch)
    assert found["opdkit_head"] == {"repeats": [], "error": "out of memory"}
    assert len(found["logits_head"]["repeats"]) == 2
    assert any("out of memory" in line for line in lines)


def test_a_missing_package_costs_its_row_alone(monkeypatch):
    monkeypatch.setattr(runner, "find_spec", lambda package: None)
    case = case_of("logits_head", "trl_head")
    found = run_case(case, Plan(repeats=1), lambda line: None, lambda job: ANSWER)
    assert found["logits_head"]["repeats"] == [ANSWER]
    assert found["trl_head"]["error"] == "trl is not installed"
    assert runner.missing((case,)) == ["trl"]


def test_a_fresh_process_measures_a_small_head():
    job = {"contestant": "logits_head", "steps": 2, "patience_s": 60.0, "weighs": True, "threads": 1, "seed": 0}
    job["shape"] = to_json(SHAPE)
    answer = launch_process(job, limit_s=120)
    assert "error" not in answer, answer
    assert len(answer["seconds"]) == len(answer["cpu_seconds"]) == 2
    assert answer["losses"][0] == answer["losses"][-1] > 0
    assert answer["gradient_mib"] == pytest.approx((8 + 50) * 4 * 4 / 2**20)


def test_a_job_that_raises_answers_with_one_line():
    job = {"contestant": "logits_head", "steps": 1, "patience_s": 60.0, "weighs": True, "threads": 1, "seed": 0}
    job["shape"] = to_json(HeadShape(8, 50, 4, k=51))
    answer = launch_process(job, limit_s=120)
    assert answer["error"].startswith("RuntimeError: ")
    assert "\n" not in answer["error"]
