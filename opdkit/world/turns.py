"""Acts that all processes must make together, while each has its own number of them to make."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from opdkit.world.world import World


class Turns:
    """Agrees on the next act before each one, so that a process without work makes it with nothing to do.

    Used as a context around code that acts as often as it likes. Every process enters it; inside, each says before an
    act which kind it is, and all make the first kind that any of them wants. At the end of the context a process makes
    the acts of the others until none wants one. Inside it nothing else is communicated.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._idle: list[Callable[[], None]] = []

    def kind(self, idle: Callable[[], None]) -> int:
        """A new kind of act. idle: that of a process which has no use for it. All processes name them in one order."""
        self._idle.append(idle)
        return len(self._idle) - 1

    def take(self, kind: int) -> None:
        """Return when it is the turn of `kind`: every process is about to make such an act."""
        while (due := self._due(kind)) != kind:
            self._idle[due]()

    def _due(self, wanted: int) -> int:
        """The first kind that any process wants; as many as there are kinds where none wants one."""
        return -int(self._world.max(float(-wanted)))

    def __enter__(self) -> Turns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            return
        none = len(self._idle)
        while (due := self._due(none)) != none:
            self._idle[due]()
