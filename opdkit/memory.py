"""Measures the resident memory of this process and its peak."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from pathlib import Path

import psutil
import torch

from opdkit import device

MIB = 1024.0 * 1024.0
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def release_freed_pages() -> None:
    """Collect garbage and return free pages to the system, so that a measurement shows only live memory."""
    gc.collect()
    device.empty_cache()
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except AttributeError:  # a C library without malloc_trim
            return


def resident_mib() -> float:
    """Resident set size of this process in MiB, or the memory allocated on the GPU if there is one."""
    if device.uses_cuda():
        return torch.cuda.memory_allocated() / MIB
    return psutil.Process(os.getpid()).memory_info().rss / MIB


class Peak:
    """Peak of `resident_mib` from `start` to `stop`.

    Uses PyTorch's peak on a GPU (exact), the kernel's high-water mark if it can be reset (exact), and otherwise
    a thread that samples every 2 ms.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._over = threading.Event()
        self._seen = 0.0
        self.exact = True

    def start(self) -> None:
        """Reset the peak to the memory in use now."""
        if device.uses_cuda():
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            _CLEAR.write_text("5")
        except OSError:
            self.exact = False
            self._over.clear()
            self._seen = resident_mib()
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def stop(self) -> float:
        """The peak since `start`, in MiB."""
        if device.uses_cuda():
            return torch.cuda.max_memory_allocated() / MIB
        if self._thread is None:
            return _high_water_mib()
        self._over.set()
        self._thread.join()
        self._thread = None
        return self._seen

    def _look(self) -> None:
        while not self._over.wait(0.002):
            self._seen = max(self._seen, resident_mib())


def _high_water_mib() -> float:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) / 1024.0
    return resident_mib()
