"""Games that hang, die and lie, in processes that leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from opdkit.environments.base import Crash, Observation, StepResult
from opdkit.environments.pool import EnvironmentPool, TimeLimits
from opdkit.errors import RunError, UserError
from opdkit.processes import child
from tests.environments.fake import FakeGame

ROOT = Path(__file__).resolve().parents[2]
PATIENT = TimeLimits(start=60, reset=60, step=60)
HASTY = TimeLimits(start=60, reset=60, step=0.3)


@pytest.fixture(scope="module")
def shared() -> Iterator[EnvironmentPool]:
    with EnvironmentPool(FakeGame(), 3, PATIENT) as pool:
        yield pool


def one_step(pool: EnvironmentPool, action: str, slot: int = 0) -> StepResult | Crash:
    return pool.step([(slot, action)])[0]


def play(pool: EnvironmentPool, slot: int, seed: int) -> list[Observation | StepResult | Crash | None]:
    told: list = pool.reset([(slot, seed)])
    for action in pool.gold([slot])[0] or ():
        told.append(one_step(pool, action, slot))
    return told


def eventually(holds: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return False


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: list[int]) -> bool:
    return eventually(lambda: not any(map(runs, pids)))


def family(pids: list[int]) -> list[int]:
    return [*pids, *(child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True))]


def test_a_seed_is_an_episode_in_any_slot(shared: EnvironmentPool) -> None:
    first = play(shared, 0, 5)
    assert isinstance(first[-1], StepResult)
    assert first[-1].success
    assert first[-1].done
    assert first[-1].score == 1.0
    assert play(shared, 2, 5) == first
    assert play(shared, 0, 5) == first
    assert play(shared, 0, 6)[0] != first[0] or play(shared, 0, 6)[1:] != first[1:]


def test_answers_keep_the_order_of_the_questions(shared: EnvironmentPool) -> None:
    openings = {seed: play(shared, 0, seed)[0] for seed in (1, 2, 3)}
    assert shared.reset([(2, 1), (0, 2), (1, 3)]) == [openings[1], openings[2], openings[3]]
    results = shared.step([(1, "wait"), (2, "nonsense"), (0, "wait")])
    assert [result.valid for result in results if isinstance(result, StepResult)] == [True, False, True]


def test_a_question_out_of_turn_is_a_defect(shared: EnvironmentPool) -> None:
    play(shared, 0, 1)
    with pytest.raises(ValueError, match="is over"):
        shared.step([(0, "left")])
    with pytest.raises(ValueError, match="twice"):
        shared.reset([(1, 1), (1, 2)])
    with EnvironmentPool(FakeGame(), 1) as fresh, pytest.raises(ValueError, match="no episode"):
        fresh.step([(0, "left")])


@pytest.mark.parametrize(
    ("action", "reason", "word"),
    [
        ("die", "crashed", "ended"),
        ("raise", "crashed", "OSError: the game is broken in two lines"),
        ("lie score", "nonsense", "score=1.5"),
        ("lie nan", "nonsense", "reward"),
        ("lie type", "nonsense", "done"),
        ("lie text", "crashed", "AttributeError"),
        ("lie success", "nonsense", "success"),
    ],
)
def test_a_crash_is_told_and_harms_no_other_slot(shared: EnvironmentPool, action: str, reason: str, word: str) -> None:
    shared.reset([(0, 1), (1, 2)])
    before = shared.restarts
    crash, other = shared.step([(0, action), (1, "wait")])
    assert isinstance(crash, Crash)
    assert crash.reason == reason
    assert word in crash.detail
    assert "\n" not in crash.detail
    assert shared.restarts == before + 1
    assert isinstance(other, StepResult)
    assert isinstance(play(shared, 0, 4)[-1], StepResult)


@pytest.mark.parametrize("action", ["hang", "hang in C"])
def test_a_hung_game_is_killed(action: str) -> None:
    with EnvironmentPool(FakeGame(), 2, HASTY) as pool:
        pool.reset([(0, 1), (1, 1)])
        old = pool.process_ids()
        crash, other = pool.step([(0, action), (1, "wait")])
        assert isinstance(crash, Crash)
        assert crash.reason == "timeout"
        assert isinstance(other, StepResult)
        assert gone(old[:1])
        assert pool.seconds > 2 * HASTY.step


def test_what_a_game_prints_is_no_reply(shared: EnvironmentPool) -> None:
    shared.reset([(0, 1)])
    assert isinstance(one_step(shared, "chatter"), StepResult)


def test_after_one_crash_the_episode_goes_on_where_it_was(tmp_path: Path) -> None:
    game = FakeGame(folder=str(tmp_path), doors=4)
    with EnvironmentPool(game, 1, PATIENT) as pool:
        whole = play(pool, 0, 3)
        pool.reset([(0, 3)])
        way = pool.gold([0])[0]
        assert isinstance(way, tuple)
        assert [one_step(pool, action) for action in way[:2]] == whole[1:3]
        assert isinstance(one_step(pool, "once"), StepResult)
        assert pool.restarts == 1
        assert [one_step(pool, action) for action in way[2:]] == whole[3:]


def test_a_game_that_changes_is_not_played_on(tmp_path: Path) -> None:
    with EnvironmentPool(FakeGame(folder=str(tmp_path), shifting=True), 1, PATIENT) as pool:
        pool.reset([(0, 3)])
        crash = one_step(pool, "once")
    assert isinstance(crash, Crash)
    assert crash.reason == "nonsense"
    assert "not the same" in crash.detail


def test_a_crash_at_reset_is_an_episode_that_crashed(shared: EnvironmentPool) -> None:
    crash, fine = shared.reset([(0, 13), (1, 1)])
    assert isinstance(crash, Crash)
    assert isinstance(fine, Observation)
    with pytest.raises(ValueError, match="no episode"):
        shared.step([(0, "left")])


def test_a_game_that_does_not_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child.sys, "executable", "/bin/false")
    with EnvironmentPool(FakeGame(), 1) as pool, pytest.raises(RunError, match="fake: the game does not start"):
        pool.reset([(0, 1)])


class Refuses(FakeGame):
    def make(self) -> None:
        raise UserError("doors=0; allowed: 1 or more")


def test_what_a_game_refuses_is_the_users_to_mend() -> None:
    with EnvironmentPool(Refuses(), 1) as pool:
        with pytest.raises(UserError, match="doors=0"):
            pool.reset([(0, 1)])
        assert pool.process_ids() == []


def test_close_leaves_no_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with EnvironmentPool(FakeGame(), 2) as pool:
        pool.reset([(0, 1), (1, 1)])
        alive = family(pool.process_ids())
        assert len(alive) == 4, "each game has its watcher"
        assert len(list(tmp_path.iterdir())) == 2
    assert gone(alive)
    assert not list(tmp_path.iterdir())


SCRIPT = """
import sys, time
from opdkit.environments.pool import EnvironmentPool, TimeLimits
from tests.environments.fake import FakeGame
pool = EnvironmentPool(FakeGame(), 2, TimeLimits(step=1000))
pool.reset([(0, 1), (1, 1)])
print(*pool.process_ids(), flush=True)
if sys.argv[1] == "hang":
    pool.step([(0, "hang in C")])
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("number", "state"), [(None, "idle"), (signal.SIGTERM, "idle"), (signal.SIGKILL, "idle"), (signal.SIGKILL, "hang")]
)
def test_games_are_gone_when_their_owner_is(number: int | None, state: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", SCRIPT, state, "0" if number is None else "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as owner:
        assert owner.stdout is not None
        games = [int(pid) for pid in owner.stdout.readline().split()]
        assert len(games) == 2
        if number is not None:
            alive = family(games)
            assert len(alive) == 4
            time.sleep(0.5 if state == "hang" else 0.0)
            owner.send_signal(number)
        else:
            alive = games
    assert gone(alive)
    assert eventually(lambda: not list(tmp_path.iterdir()))  # by the process that watches a game, which ends last


def test_a_game_loads_no_torch_and_gets_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a secret")
    with EnvironmentPool(FakeGame(), 1) as pool:
        pool.reset([(0, 1)])
        game = psutil.Process(pool.process_ids()[0])
        assert "WANDB_API_KEY" not in game.environ()
        assert not [region.path for region in game.memory_maps() if "libtorch" in region.path]
