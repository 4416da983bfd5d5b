"""Prints the table of an evaluation on games, and single transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opdkit.console.terminal import Reporter
from opdkit.jsonl import read_rows

SHOWN = ("first", "right", "wrong")
"""Values of `show` that are not identifiers."""

_COLUMNS = ("", "success", "95 % interval", "score", "95 % interval", "steps", "invalid", "episodes", "crashed")
_LABELS = {"random": "random action", "gold": "gold path"}


def episode_tables(reporter: Reporter, summary: Mapping[str, Any]) -> None:
    """The model and the baselines, then per game if there are several."""
    players: dict[str, Mapping[str, Any]] = {"model": summary}
    baselines: Mapping[str, Any] = summary.get("baselines") or {}
    players |= {_LABELS.get(name, name): results for name, results in baselines.items()}
    rows = [[*_cells(label, results), str(results["n_crashed"])] for label, results in players.items()]
    reporter.table(str(summary["benchmark"]), _COLUMNS, rows)
    if summary["games"]:
        by_game = [
            _cells(f"{game}, {label}", results["games"][game])
            for game in summary["games"]
            for label, results in players.items()
        ]
        reporter.table("per game", _COLUMNS[:-1], by_game)


def show_response(reporter: Reporter, path: Path, choice: str) -> None:
    """Prints one row of a responses file: the first, the first right or wrong one, or a named one.

    Control characters in text from the model or game are escaped.
    """
    for row in read_rows(path)[0]:
        if _is_wanted(row, choice):
            for text in response_lines(row):
                reporter.note(text)
            return
    reporter.note(f"show={choice}: no response is {choice}")


def _is_wanted(row: Mapping[str, Any], choice: str) -> bool:
    right = row.get("success", row.get("correct"))
    if choice in SHOWN:
        return choice == "first" or right is (choice == "right")
    return choice == row.get("episode", row.get("problem"))


def response_lines(row: Mapping[str, Any]) -> list[str]:
    """A response with its verdict, or the transcript of an episode, as lines of untrusted text."""
    if "exchanges" not in row:
        ending = "right" if row["correct"] else "wrong"
        if row.get("status", "ok") != "ok":
            ending += f" ({row['status']})"
        head = f"{row['problem']}: {ending}, read as {row['extracted']}, the answer is {row['reference']}"
        return ["", head, *_indented(row["text"])]
    outcome = {True: "won", False: "not won", None: "crashed"}[row["success"]]
    lines = ["", f"{row['episode']}: {outcome} after {row['steps']} actions, score {row['score']}, {row['ending']}"]
    if row["detail"]:
        lines.append(row["detail"])
    for number, transition in enumerate(row["exchanges"], start=1):
        lines += _indented(transition["observation"])
        mark = "" if transition["valid"] else "   (not understood)"
        lines += _reasoning(transition["response"], transition["action"])
        lines.append(f"{number}> {transition['action']}{mark}")
    return [*lines, *_indented(row["last_observation"])]


def _reasoning(response: str, action: str) -> list[str]:
    """Text around an action, if any."""
    return [] if response.strip() == action else [f"  | {line}" for line in response.splitlines()]


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def _cells(label: str, results: Mapping[str, Any]) -> list[str]:
    return [
        label,
        _percent(results["success"]),
        _range(results["ci95"]),
        _percent(results["score"]),
        _range(results["score_ci95"]),
        "" if results["steps_mean"] is None else f"{results['steps_mean']:.1f}",
        _percent(results["invalid_rate"]),
        str(results["n_played"]),
    ]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"
