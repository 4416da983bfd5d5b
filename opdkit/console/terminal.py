"""Progress display of a run: a bar with the main metrics, or plain lines without a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table

SHOWN = {
    "train/loss": "loss",
    "rollout/reward_mean": "reward",
    "rollout/length_mean": "length",
    "rollout/truncated_fraction": "cut",
    "train/grad_norm": "grad",
    "opd/student_mass": "mass",
    "perf/tokens_per_s": "tok/s",
}
"""Metric -> its short name on the progress line, in order."""

_PLAIN_SECONDS = 5.0


class Reporter(Protocol):
    """Progress reporting to the user. All text is printed literally, without markup."""

    def stage(self, text: str) -> None:
        """Shows the current stage in a few words."""
        ...

    def step(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Reports a finished step; `metrics` as logged."""
        ...

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Shows a small table of text cells."""
        ...

    def note(self, text: str) -> None:
        """Prints a permanent line."""
        ...


@contextmanager
def terminal_reporter(stream: TextIO | None = None, *, silent: bool = False) -> Iterator[Reporter]:
    """A live display on a terminal, otherwise (or if TERM is dumb) plain lines. NO_COLOR is honoured.

    silent: show nothing.
    """
    if silent:
        yield SilentReporter()
        return
    target = sys.stdout if stream is None else stream
    console = Console(file=target, highlight=False, soft_wrap=True)
    if console.is_terminal and os.environ.get("TERM") != "dumb":
        live = LiveReporter(console)
        try:
            yield live
        finally:
            live.close()
    else:
        yield PlainReporter(target)


def progress_numbers(metrics: Mapping[str, float]) -> str:
    """`loss 0.412  reward 0.52 ...`: the metrics of `SHOWN` that are present."""
    return "  ".join(f"{short} {metrics[name]:.3g}" for name, short in SHOWN.items() if name in metrics)


class PlainReporter:
    """One line per stage, and at most one every few seconds for steps; always the first and last step."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next = 0.0
        self._stage = ""

    def stage(self, text: str) -> None:
        if text != self._stage:
            self._stage = text
            self._say(text)

    def step(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        now = time.monotonic()
        if now >= self._next or step in (1, total):
            self._next = now + _PLAIN_SECONDS
            self._say(f"step {step}/{total}  {progress_numbers(metrics)}")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [list(columns), *map(list, rows)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        self._say("")
        self._say(title)
        for line in lines:
            self._say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def note(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        print(printable(text), file=self._stream, flush=True)


class SilentReporter:
    """Shows nothing."""

    def stage(self, text: str) -> None: ...

    def step(self, step: int, total: int, metrics: Mapping[str, float]) -> None: ...

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None: ...

    def note(self, text: str) -> None: ...


class LiveReporter:
    """A spinner with the stage, and a progress bar during steps."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # On a narrow terminal the numbers are truncated.
        rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=True),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[count]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[progress_numbers]}", markup=False, table_column=rest),
            console=console,
            expand=True,
            transient=True,
        )
        self._progress.start()
        self._task: TaskID = self._progress.add_task("", total=None, count="", progress_numbers="")

    def stage(self, text: str) -> None:
        self._progress.update(
            self._task, description=escape(printable(text)), completed=0, total=None, count="", progress_numbers=""
        )

    def step(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        self._progress.update(
            self._task,
            description="training",
            completed=step,
            total=total,
            count=f"{step}/{total}",
            progress_numbers=progress_numbers(metrics),
        )

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        shown = Table(title=escape(printable(title)), title_justify="left", title_style="bold")
        for index, name in enumerate(columns):
            shown.add_column(escape(printable(name)), justify="right" if index else "left", no_wrap=not index)
        for row in rows:
            shown.add_row(*(escape(printable(cell)) for cell in row))
        self._console.print(shown, soft_wrap=False)

    def note(self, text: str) -> None:
        self._console.print(printable(text), markup=False)

    def close(self) -> None:
        """Removes the bar; printed lines stay."""
        self._progress.stop()


def printable(text: str) -> str:
    """Untrusted text with its control characters escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
