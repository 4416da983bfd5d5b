"""Times steps, and measures the memory of one of them.

The first step is a warm-up: libraries load and the optimiser creates its state. The memory of the second is measured if
requested. The others are timed. Extra memory is the peak during the measured step minus the memory held just before it,
when weights, dense gradients of all trainable weights, and optimiser state exist and have been written to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from opdkit import device
from opdkit.memory import MIB, Peak, release_freed_pages, resident_mib


@dataclass(frozen=True)
class Effort:
    """timed: maximum timed steps; patience_s: no further step starts once they took this long; weighs: the memory of
    a step is measured before them."""

    timed: int
    patience_s: float = math.inf
    weighs: bool = True

    @property
    def untimed(self) -> int:
        """Steps before the timed ones: a warm-up and, if requested, one whose memory is measured."""
        return 2 if self.weighs else 1

    @property
    def most(self) -> int:
        """Maximum number of steps."""
        return self.untimed + self.timed


@dataclass
class Meter:
    """Called around each step. `parameters` gives the trainable leaves once they exist.

    seconds: of each timed step; cpu_seconds: of all threads of the process, less sensitive to other load on the
    machine; extra_mib: see above; gradient_mib: of the dense gradients; losses: one per step; exact: the peak is
    reported by the system, not sampled.
    """

    parameters: Callable[[], Iterable[Tensor]]
    effort: Effort
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    extra_mib: float | None = None
    gradient_mib: float | None = None
    exact: bool = True
    _peak: Peak = field(default_factory=Peak)
    _step: int = 0
    _began: float = 0.0
    _cpu_began: float = 0.0
    _held: float = 0.0

    def begin(self) -> None:
        """Marks the start of a step."""
        if self._weighed:
            self._held = self._weigh_held()
            release_freed_pages()
            self._peak.start()
        device.synchronize()
        self._cpu_began = time.process_time()
        self._began = time.perf_counter()

    def end(self, loss: float | None = None) -> None:
        """Marks the end of a step, whether or not gradients were dropped."""
        device.synchronize()
        took = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu_began
        if self._weighed:
            self.extra_mib = self._peak.stop() - self._held
            self.exact = self._peak.exact
        elif self._step >= self.effort.untimed:
            self.seconds.append(took)
            self.cpu_seconds.append(cpu)
        if loss is not None:
            self.losses.append(loss)
        self._step += 1

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        timed, took = len(self.seconds), sum(self.seconds)
        return timed >= self.effort.timed or (timed > 0 and took >= self.effort.patience_s)

    @property
    def _weighed(self) -> bool:
        return self.effort.weighs and self._step == 1

    def _weigh_held(self) -> float:
        leaves = [leaf for leaf in self.parameters() if leaf.requires_grad]
        for leaf in leaves:
            # Write to it: untouched zero pages take no resident memory.
            leaf.grad = torch.full_like(leaf, 0.5)
        release_freed_pages()
        held = resident_mib()
        self.gradient_mib = sum(leaf.numel() * leaf.element_size() for leaf in leaves) / MIB
        for leaf in leaves:
            leaf.grad = None
        return held


def run_steps(meter: Meter, step: Callable[[], float | None]) -> None:
    """Runs steps under the meter until it is done; a step returns its loss, if any. Gradients are dropped before each
    step, untimed."""
    while not meter.done:
        for leaf in meter.parameters():
            leaf.grad = None
        meter.begin()
        loss = step()
        meter.end(loss)
