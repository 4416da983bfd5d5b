"""The time a run spends on looking at itself."""

from __future__ import annotations

import pytest

from opdkit.stopwatch import Stopwatch
from opdkit.training.steps import Overhead


def test_time_within_it_is_added_up_and_nested_time_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("opdkit.stopwatch.time.perf_counter", lambda: now[0])
    watch = Stopwatch()
    for seconds in (1.0, 2.0):
        with watch:
            now[0] += seconds / 2
            with watch:
                now[0] += seconds / 2
        now[0] += 10.0
    assert watch.taken() == pytest.approx(3.0)
    assert watch.taken() == 0.0


def test_an_error_within_it_ends_it() -> None:
    watch = Stopwatch()
    with pytest.raises(ValueError, match="x"), watch:
        raise ValueError("x")
    first = watch.taken()
    assert watch.taken() == 0.0
    assert first >= 0.0


def test_the_share_of_the_steps_time() -> None:
    overhead = Overhead()
    assert overhead.share is None
    times = {"time/rollout_s": 4.0, "time/teacher_s": 1.0, "time/update_s": 4.0}
    overhead.add(times | {"time/diagnostics_s": 1.0, "time/metrics_s": 1.5})
    overhead.add(times | {"time/metrics_s": 0.4})
    assert overhead.share == pytest.approx(1.9 / 19)
