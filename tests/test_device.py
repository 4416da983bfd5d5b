from __future__ import annotations

import pytest
import torch
from accelerate.state import AcceleratorState

from opdkit import device
from opdkit.errors import UserError
from opdkit.training.session import close_session


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch):
    """Makes torch see as many GPUs as asked, and tells which one was taken."""
    taken: list[int] = []

    def see(count: int) -> list[int]:
        monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "set_device", taken.append)
        return taken

    return see


def test_a_gpu_is_used_unless_told_otherwise(gpus, monkeypatch):
    gpus(1)
    assert device.kind() == "cuda"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert device.kind() == "cpu"
    gpus(0)
    assert device.kind() == "cpu"


def test_each_process_takes_the_gpu_of_its_local_rank(gpus, monkeypatch):
    taken = gpus(2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    device.take_own_gpu()
    assert taken == [1]


def test_more_processes_than_gpus_are_refused_in_each_of_them(gpus, monkeypatch):
    taken = gpus(1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"^2 processes on a machine with 1 GPU: .*_per_node 1.*ACCELERATE_USE_CPU"):
        device.take_own_gpu()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    device.take_own_gpu()
    assert taken == []


def test_without_a_gpu_of_cuda_accelerate_keeps_to_the_cpu(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    close_session()
    try:
        assert device.accelerator("bfloat16").device.type == "cpu"
        assert AcceleratorState().mixed_precision == "bf16"
    finally:
        close_session()


@pytest.mark.parametrize(("precision", "rounded"), [("bfloat16", True), ("float32", False)])
def test_a_gpu_rounds_products_of_float32_only_in_bfloat16(gpus, monkeypatch, precision, rounded):
    gpus(1)
    monkeypatch.setattr("accelerate.Accelerator", lambda **chosen: chosen)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = not rounded
    try:
        device.accelerator(precision)
        assert torch.backends.cuda.matmul.allow_tf32 is rounded
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_a_cpu_keeps_its_products(gpus, monkeypatch):
    gpus(0)
    monkeypatch.setattr("accelerate.Accelerator", lambda **chosen: chosen)
    before = torch.backends.cuda.matmul.allow_tf32
    device.accelerator("bfloat16")
    assert torch.backends.cuda.matmul.allow_tf32 is before
