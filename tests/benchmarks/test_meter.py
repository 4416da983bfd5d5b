"""What counts as extra memory, and which steps are timed."""

from __future__ import annotations

import pytest
import torch

from benchmarks import meter as meter_module
from benchmarks.meter import Effort, Meter, run_steps
from opdkit.memory import MIB, Peak, release_freed_pages, resident_mib

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="resident memory is read on a CPU")


def test_the_first_step_warms_up_and_the_second_is_weighed():
    leaf = torch.zeros(4, requires_grad=True)
    meter = Meter(lambda: [leaf], Effort(3))
    seen = []

    def step() -> float:
        seen.append(leaf.grad)
        leaf.sum().backward()
        return 1.5

    run_steps(meter, step)
    assert seen == [None] * 5
    assert len(meter.seconds) == len(meter.cpu_seconds) == 3
    assert meter.losses == [1.5] * 5
    assert meter.gradient_mib == pytest.approx(16 / MIB)


def test_extra_memory_is_what_a_step_holds_beside_its_gradients():
    leaf = torch.ones(20 * 2**18, requires_grad=True)  # 20 MiB, and as much again for its gradient

    def step() -> float:
        scratch = torch.full((50 * 2**18,), 1.0)  # 50 MiB
        (leaf * 2.0).sum().backward()
        return float(scratch[0])

    meter = Meter(lambda: [leaf], Effort(1))
    run_steps(meter, step)
    assert meter.extra_mib is not None
    # 50 MiB of scratch and 20 of the product, which lives on beside the gradient or not, as autograd sees fit.
    assert 48.0 <= meter.extra_mib <= 95.0


def test_the_sampling_peak_sees_what_the_kernel_would(monkeypatch, tmp_path):
    monkeypatch.setattr("opdkit.memory._CLEAR", tmp_path / "missing" / "clear_refs")
    release_freed_pages()
    before = resident_mib()
    peak = Peak()
    peak.start()
    held = [torch.full((2**18,), 1.0) for _ in range(60)]
    torch.randn(2000, 2000) @ torch.randn(2000, 2000)
    assert len(held) == 60
    del held
    assert peak.stop() - before >= 55.0
    assert not peak.exact


def test_time_is_taken_from_begin_to_end(monkeypatch):
    clock = iter([10.0, 13.0, 20.0, 21.0, 30.0, 32.5])
    monkeypatch.setattr(meter_module.time, "perf_counter", lambda: next(clock))
    meter = Meter(list, Effort(1))
    run_steps(meter, lambda: 0.0)
    assert meter.seconds == [2.5]


def test_patience_ends_the_timed_steps_after_the_first_that_spends_it(monkeypatch):
    clock = iter([0.0, 1.0, 0.0, 1.0, 0.0, 2.0, 0.0, 2.0])
    monkeypatch.setattr(meter_module.time, "perf_counter", lambda: next(clock))
    meter = Meter(list, Effort(timed=9, patience_s=3.0))
    run_steps(meter, lambda: None)
    assert meter.seconds == [2.0, 2.0]
    assert meter.losses == []


def test_without_weighing_the_step_after_the_first_is_timed(monkeypatch):
    clock = iter([0.0, 1.0, 0.0, 2.0])
    monkeypatch.setattr(meter_module.time, "perf_counter", lambda: next(clock))
    meter = Meter(list, Effort(1, weighs=False))
    run_steps(meter, lambda: None)
    assert meter.seconds == [2.0]
    assert meter.extra_mib is None
