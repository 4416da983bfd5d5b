"""When a run stops early and which step is the best, by what is read of a metric."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.training.watch import Best, EarlyStop, KeepBest, Mode, Watch

VALUES = st.lists(st.floats(-1, 1) | st.just(math.nan), min_size=1, max_size=12)


@given(values=VALUES, mode=st.sampled_from(["max", "min"]))
def test_the_first_of_the_best_values_is_kept(values: list[float], mode: Mode) -> None:
    best = Best("m", mode)
    kept = [step for step, value in enumerate(values, 1) if best.read(step, value)]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        assert best.value is None
        assert kept == []
        return
    wanted = max(finite) if mode == "max" else min(finite)
    assert (best.value, best.step) == (wanted, values.index(wanted) + 1)
    assert best.step == kept[-1]
    assert best.since == len(values) - best.step


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([0.5, 0.5, 0.5], 3),  # equal is not better
        ([0.5, 0.55, 0.6, 0.62, 0.66], 5),  # .55 is within min_delta of .5, .6 within that of nothing
        ([0.5, 0.4, 0.7, 0.6, 0.6], 5),
        ([math.nan, math.nan], 2),
        ([0.1, 0.3, 0.5, 0.7], None),
    ],
)
def test_it_stops_after_so_many_readings_without_a_better_one(values: list[float], ends: int | None) -> None:
    watch = Watch.of(EarlyStop("m", "max", patience=2, min_delta=0.08), KeepBest(None, "max"))
    stops = None
    for step, value in enumerate(values, 1):
        watch.read(step, {"other": 1.0})  # a step without the metric is no reading
        watch.read(step, {"m": value})
        if watch.stopped and stops is None:
            stops = step
    assert stops == ends


def test_a_checkpoint_holds_what_was_read_of_the_same_metric() -> None:
    stop, keep = EarlyStop("a", "max", 3, 0.0), KeepBest("b", "min")
    watch = Watch.of(stop, keep)
    for step in (1, 2):
        watch.read(step, {"a": 0.5, "b": float(step)})
    again = Watch.of(stop, keep)
    again.restore(watch.state())
    assert again == watch
    other = Watch.of(EarlyStop("a", "min", 3, 0.0), KeepBest("c", "min"))
    other.restore(watch.state())
    assert other == Watch.of(EarlyStop("a", "min", 3, 0.0), KeepBest("c", "min"))
    assert not Watch.of(EarlyStop(None, "max", 1, 0.0), KeepBest(None, "max")).stopped
