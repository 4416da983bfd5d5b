"""Who owns a run folder, and what may differ when a run goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opdkit.errors import UserError
from opdkit.runs.folder import RunFolder

CONFIG = {"objective": {"_target_": "x", "k": 32}, "steps": 10, "resume": False, "run_dir": "a"}


def test_a_second_owner_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from opdkit.runs.folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).owned():\n    print('mine', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "mine\n"
        with pytest.raises(UserError, match="in use by another run"), RunFolder(tmp_path / "run").owned():
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with RunFolder(tmp_path / "run").owned():
        pass


def test_a_refused_run_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError), RunFolder(tmp_path / "a" / "b").owned():
        raise UserError("no")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError), RunFolder(tmp_path / "a").owned():
        raise UserError("no")
    assert (tmp_path / "a").is_dir()


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.require_new()
    folder.start(CONFIG, {"seed": 1})
    with pytest.raises(UserError, match="already contains a run"):
        folder.require_new()


def test_another_config_is_shown_by_its_differences(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(CONFIG, {})
    folder.require_same_config(CONFIG | {"resume": True, "run_dir": "b", "logger": {"_target_": "y"}})
    changed = CONFIG | {"steps": 11, "objective": {"_target_": "x", "k": 8}, "new": 1}
    with pytest.raises(UserError, match=r"objective\.k: 32 -> 8; steps: 10 -> 11; new: None -> 1"):
        folder.require_same_config(changed)


def test_an_unwritable_place_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"), RunFolder(tmp_path / "file" / "run").owned():
        pass


def test_keys_of_a_text_model_that_change_no_result_are_free(tmp_path: Path) -> None:
    model = {"_target_": "opdkit.text.OpenAIModel", "model": "m", "base_url": "a", "timeout": 1.0, "budget_calls": 5}
    reward = {"_target_": "opdkit.rewards.JudgeReward", "attempts": 2, "text": model}
    before = CONFIG | {"text": model, "reward": reward}
    folder = RunFolder(tmp_path)
    folder.start(before, {})
    moved = model | {"base_url": "b", "timeout": 9.0, "budget_calls": None, "attempts": 9, "concurrency": 2}
    folder.require_same_config(before | {"text": moved, "reward": reward | {"text": moved}})
    with pytest.raises(UserError, match=r"text\.model: 'm' -> 'n'"):
        folder.require_same_config(before | {"text": model | {"model": "n"}})
    with pytest.raises(UserError, match=r"reward\.attempts: 2 -> 3"):
        folder.require_same_config(before | {"reward": reward | {"attempts": 3}})


def test_more_steps_are_for_a_finished_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(CONFIG, {})
    with pytest.raises(UserError, match="steps: 10 -> 12"):
        folder.require_same_config(CONFIG | {"steps": 12})
    folder.summary.write_text('{"steps": 10}')
    folder.require_same_config(CONFIG | {"steps": 12})
    with pytest.raises(UserError, match="steps: 10 -> 9"):
        folder.require_same_config(CONFIG | {"steps": 9})
