"""Synchronises collective operations of which each rank has its own number to make."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from opdkit.world.world import World


class Turns:
    """Lets ranks agree on the next collective operation, so that a rank without work joins in with an idle one.

    Use as a context around code with any number of operations. Every rank enters it. Before an operation, each rank
    announces its kind, and all perform the first kind that any of them announces. At the end of the context a rank
    performs idle operations until no rank has any left. No other communication may happen inside.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._idle: list[Callable[[], None]] = []

    def kind(self, idle: Callable[[], None]) -> int:
        """Register a kind of operation, in the same order on all ranks. idle: performs it on a rank without work."""
        self._idle.append(idle)
        return len(self._idle) - 1

    def take(self, kind: int) -> None:
        """Return when it is the turn of `kind`, with every rank about to perform such an operation."""
        while (due := self._due(kind)) != kind:
            self._idle[due]()

    def _due(self, wanted: int) -> int:
        """The first kind announced by any rank; the number of kinds if there is none."""
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
