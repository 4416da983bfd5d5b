"""The thread that collects ahead: which weights write which step, and that it works beside the updates."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from opdkit.errors import RunError
from opdkit.training.ahead import AheadCollector, Work
from opdkit.training.step_data import StepData
from opdkit.world.world import World


class Run:
    """A student of one number, which counts its steps; collecting notes what the writer's number was."""

    def __init__(self, staleness: int, steps: int = 6) -> None:
        self.student, self.writer = nn.Linear(1, 1), nn.Linear(1, 1)
        self.student.requires_grad_(False)
        self.seen: dict[int, tuple[int, float]] = {}
        self.begun = [threading.Event() for _ in range(steps)]
        self.cursor = 0
        work = Work(self.collect, lambda: {"": {"cursor": self.cursor}}, self.writer)
        self.ahead = AheadCollector(work, self.student, staleness, steps)
        self.count(0)

    def count(self, steps: int) -> None:
        self.student.weight.fill_(float(steps))

    def collect(self, step: int, version: int) -> list[StepData]:
        self.cursor += 1
        self.seen[step] = (version, float(self.writer.weight.detach()))
        self.begun[step].set()
        return []


@pytest.mark.parametrize("staleness", [1, 2, 9])
def test_each_step_is_written_by_its_weights_and_goes_on_from_what_was_pending(staleness: int) -> None:
    run = Run(staleness)
    for step in range(3):
        run.ahead.take(step)
        run.count(step + 1)
    walks, pending = run.ahead.walks(3), run.ahead.pending()
    assert walks == {"": {"cursor": 3}}
    again = Run(staleness)
    again.count(3)
    again.ahead.restore(3, pending)
    for one in (run, again):
        for step in range(3, 6):
            one.ahead.take(step)
            assert one.ahead.metrics()["rollout/staleness"] == min(step, staleness)
            one.count(step + 1)
        one.ahead.close()
        assert one.ahead.pending() == {}
    expected = {step: (max(0, step - staleness), float(max(0, step - staleness))) for step in range(6)}
    assert run.seen == expected
    assert again.seen == {step: expected[step] for step in range(3, 6)}


def test_the_next_step_is_collected_before_the_update_of_this_one_is_over() -> None:
    run = Run(1)
    run.ahead.take(0)
    assert run.begun[1].wait(30)  # and this thread has not come back for it
    run.ahead.close()


def test_an_error_of_the_thread_is_raised_where_its_step_is_taken() -> None:
    def broken(step: int, version: int) -> list[StepData]:
        raise RunError("the game is gone")

    module = nn.Linear(1, 1)
    ahead = AheadCollector(Work(broken, dict, nn.Linear(1, 1)), module, 1, 4)
    with pytest.raises(RunError, match="the game is gone"):
        ahead.take(0)
    ahead.close()
    assert torch.is_grad_enabled()


class Agreed(World):
    """One of two processes, which threads stand for."""

    def __init__(self, rank: int, meeting: threading.Barrier, told: list[bool]) -> None:
        super().__init__(rank, 2)
        object.__setattr__(self, "_met", (meeting, told))

    def any(self, flag: bool) -> bool:
        meeting, told = self._met  # type: ignore[attr-defined]
        told[self.rank] = flag
        meeting.wait()
        found = any(told)
        meeting.wait()
        return found


def test_a_step_that_one_process_no_longer_begins_is_begun_by_none() -> None:
    meeting, told, gates = threading.Barrier(2, timeout=10), [False, False], [threading.Event(), threading.Event()]
    seen: list[list[int]] = [[], []]

    def of(rank: int) -> AheadCollector:
        def collect(step: int, version: int) -> list[StepData]:
            seen[rank].append(step)
            assert World.current().rank == rank
            assert gates[rank].wait(10)
            return []

        work = Work(collect, dict, nn.Linear(1, 1), Agreed(rank, meeting, told))
        return AheadCollector(work, nn.Linear(1, 1), 3, 9)

    both = [of(rank) for rank in range(2)]
    with ThreadPoolExecutor(3) as threads:
        taken = [threads.submit(one.take, 0) for one in both]
        while not (seen[0] and seen[1]):
            time.sleep(0.001)
        gates[1].set()  # that process is done with the step, and has those after it before it
        ended = threads.submit(both[0].close)
        while not both[0]._closing:
            time.sleep(0.001)
        gates[0].set()
        assert [future.result(10) for future in taken] == [[], []]
        ended.result(10)
    both[1].close()
    assert seen[0] == seen[1]
    assert len(seen[0]) < 4
    assert World.current() == World()


def test_a_step_after_one_that_failed_is_not_begun() -> None:
    """The other processes wait in the midst of the one that failed: what the next sends would be taken for its."""
    seen: list[int] = []

    def broken(step: int, version: int) -> list[StepData]:
        seen.append(step)
        raise RunError("the game is gone")

    ahead = AheadCollector(Work(broken, dict, nn.Linear(1, 1)), nn.Linear(1, 1), 2, 4)
    with pytest.raises(RunError, match="the game is gone"):
        ahead.take(0)
    with pytest.raises(RunError, match="the game is gone"):
        ahead.walks(1)
    ahead.close()
    assert seen == [0]
