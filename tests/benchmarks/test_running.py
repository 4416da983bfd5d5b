"""Whole runs beside one another: what of a step is counted, and that each way composes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.running import _ALWAYS, PAIRS, make_model, seconds
from opdkit.cli.main import main

ROW = {"time/rollout_s": 3.0, "time/teacher_s": 1.0, "time/update_s": 2.0}


def test_a_step_is_its_phases_and_where_they_overlap_the_update_and_its_wait():
    assert seconds(ROW, whole=True) == 6.0
    assert seconds(ROW | {"time/student_waited_s": 0.5}, whole=True) == 2.5
    assert seconds(ROW, whole=False) == 2.0


@pytest.mark.parametrize("way", ["first", "second"])
@pytest.mark.parametrize("name", PAIRS)
def test_each_way_is_a_plan_of_the_train_command(name, way, tmp_path, capsys):
    pair = replace(PAIRS[name], layers=1, width=24, heads=3)
    for seed, model in enumerate(("student", "teacher")):
        make_model(tmp_path / model, pair, seed)
    models = [f"model.path={tmp_path / 'student'}", f"teacher.path={tmp_path / 'teacher'}"]
    words = [*pair.words, *_ALWAYS, *models, f"run_dir={tmp_path / 'run'}", *getattr(pair, way).words]
    assert main(["train", *words, "--dry-run"]) == 0
    assert str(tmp_path / "student") in capsys.readouterr().out
