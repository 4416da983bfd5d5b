"""`opdkit show RUN`: pages through rollouts of a run or responses of an evaluation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from opdkit.cli.parser import LineParser
from opdkit.console.samples import legend, response_text, rollout_text
from opdkit.errors import UserError
from opdkit.jsonl import read_rows
from opdkit.reports.rollouts import THRESHOLDS

_SHOWN = 3


def run(arguments: Sequence[str]) -> int:
    """Shows rows one at a time on a terminal, otherwise the first three."""
    parser = LineParser(
        "opdkit show", "Shows rollouts and responses.", "RUN|RESPONSES.jsonl [--step N] [--right | --wrong]"
    )
    parser.add_argument("path", help="a run folder (its samples.jsonl), or a responses file in its evals/")
    parser.add_argument("--step", type=int, help="step of a run; default: all, latest first")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--right", action="store_true", help="right answers alone")
    which.add_argument("--wrong", action="store_true", help="wrong answers alone")
    try:
        given = parser.parse_args(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    rows, render = _rows(Path(given.path), given.step)
    if given.right or given.wrong:
        rows = [row for row in rows if _is_right(row) is given.right]
    if not rows:
        raise UserError(f"{given.path}: no such rollout or response")
    console = Console()
    if render is _rollout:
        console.print(legend(THRESHOLDS))
    if sys.stdin.isatty() and sys.stdout.isatty():
        _browse(console, rows, render)
    else:
        for row in rows[:_SHOWN]:
            console.print(Text("\n") + render(row))
    return 0


def _rows(path: Path, step: int | None) -> tuple[list[dict[str, Any]], Callable[[Mapping[str, Any]], Text]]:
    """Rows in display order and the function that renders one. Raises UserError."""
    if path.is_file():
        return read_rows(path)[0], response_text
    samples = path / "samples.jsonl"
    if samples.is_file():
        rows = [row for row in read_rows(samples)[0] if step is None or row.get("step") == step]
        return sorted(rows, key=lambda row: -_step(row)), _rollout
    files = sorted((path / "evals").glob("*.responses.jsonl"))
    if files:
        return read_rows(files[0])[0], response_text
    raise UserError(f"{path}: holds no samples.jsonl and no evals/*.responses.jsonl")


def _step(row: Mapping[str, Any]) -> int:
    found = row.get("step")
    return found if isinstance(found, int) else 0


def _rollout(row: Mapping[str, Any]) -> Text:
    return rollout_text(row, THRESHOLDS)


def _is_right(row: Mapping[str, Any]) -> bool:
    verdict = row.get("success", row.get("correct"))
    return bool(verdict) if verdict is not None else row.get("reward") == 1.0


def _browse(console: Console, rows: Sequence[Mapping[str, Any]], render: Callable[[Mapping[str, Any]], Text]) -> None:
    """Shows one row at a time until the user quits."""
    place = 0
    while True:
        console.print(Text("\n") + render(rows[place]))
        try:
            typed = console.input(
                f"\n[dim]{place + 1} of {len(rows)}: enter: next, p: previous, a number, q: quit[/dim] "
            ).strip()
        except EOFError:
            return
        if typed == "q" or (not typed and place + 1 == len(rows)):
            return
        wanted = int(typed) - 1 if typed.isdigit() else place - 1 if typed == "p" else place + 1
        place = min(max(wanted, 0), len(rows) - 1)
