"""Times steps, and weighs one of them.

The first step warms up: libraries load, and an optimiser makes its state. The second is weighed, where that is asked
for. The others are timed. Extra memory is the peak during the weighed step less the memory held just before it in a
state where weights, dense gradients of every trainable one, and optimiser state all exist and have been written to.
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
    """timed: how many steps are timed at most; patience_s: no further one begins once they took that long;
    weighs: a step is weighed before them."""

    timed: int
    patience_s: float = math.inf
    weighs: bool = True

    @property
    def untimed(self) -> int:
        """Steps before the timed ones: one that warms up and, perhaps, one that is weighed."""
        return 2 if self.weighs else 1

    @property
    def most(self) -> int:
        """Steps at most."""
        return self.untimed + self.timed


@dataclass
class Meter:
    """Called around each step. `parameters` gives the trainable leaves once they exist.

    seconds: of each timed step; cpu_seconds: of all threads of the process in it, which another program's work
    on the machine moves less; extra_mib: see above; gradient_mib: of the dense gradients; losses: one a step;
    exact: the peak is the system's own, not a sampled one.
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
        """Just before a step."""
        if self._weighed:
            self._held = self._weigh_held()
            release_freed_pages()
            self._peak.start()
        device.synchronize()
        self._cpu_began = time.process_time()
        self._began = time.perf_counter()

    def end(self, loss: float | None = None) -> None:
        """Just after a step, its gradients dropped or not."""
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
        """Whether the effort is spent."""
        timed, took = len(self.seconds), sum(self.seconds)
        return timed >= self.effort.timed or (timed > 0 and took >= self.effort.patience_s)

    @property
    def _weighed(self) -> bool:
        return self.effort.weighs and self._step == 1

    def _weigh_held(self) -> float:
        leaves = [leaf for leaf in self.parameters() if leaf.requires_grad]
        for leaf in leaves:
            # Written to, not merely reserved: a page of zeros that nobody wrote takes no memory.
            leaf.grad = torch.full_like(leaf, 0.5)
        release_freed_pages()
        held = resident_mib()
        self.gradient_mib = sum(leaf.numel() * leaf.element_size() for leaf in leaves) / MIB
        for leaf in leaves:
            leaf.grad = None
        return held


def run_steps(meter: Meter, step: Callable[[], float | None]) -> None:
    """Steps under the meter until it is done; a step returns its loss, if it has one. Gradients are dropped before
    each, outside the clock."""
    while not meter.done:
        for leaf in meter.parameters():
            leaf.grad = None
        meter.begin()
        loss = step()
        meter.end(loss)
