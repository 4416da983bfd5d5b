"""The table of an evaluation, and a transcript that cannot talk to the terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.console.episodes import episode_tables, show_response
from opdkit.console.terminal import Reporter, terminal_reporter

NUMBERS = {
    "success": 0.25, "ci95": [0.1, 0.4], "score": 0.5, "score_ci95": [0.4, 0.6], "steps_mean": 7.25,
    "invalid_rate": 0.125, "n_played": 8,
}  # fmt: skip
NOTHING = {**dict.fromkeys(NUMBERS), "n_played": 0}


def printed(call: Callable[[Reporter], None]) -> str:
    stream = io.StringIO()
    with terminal_reporter(stream) as reporter:
        call(reporter)
    return stream.getvalue()


def test_model_and_baselines_share_a_table() -> None:
    gold = {**NUMBERS, "success": 1.0, "ci95": [1.0, 1.0], "n_crashed": 0, "games": {"a": NOTHING, "b": NUMBERS}}
    summary = {
        "benchmark": "games", **NUMBERS, "n_crashed": 2, "games": {"a": NUMBERS, "b": NOTHING},
        "baselines": {"gold": gold},
    }  # fmt: skip
    text = printed(lambda reporter: episode_tables(reporter, summary))
    lines = [line.split() for line in text.splitlines()]
    model = [
        "model",
        "25.0",
        "%",
        "10.0",
        "to",
        "40.0",
        "50.0",
        "%",
        "40.0",
        "to",
        "60.0",
        "7.2",
        "12.5",
        "%",
        "8",
        "2",
    ]
    assert model in lines
    assert any(line[:4] == ["gold", "path", "100.0", "%"] for line in lines)
    assert ["a,", "gold", "path", "0"] in lines
    assert ["b,", "model", "0"] in lines


def row(episode: str, success: bool | None, **fields: object) -> dict[str, object]:
    transition = {
        "observation": "A room.\nTwo\x1b[2J lines.",
        "response": "I think\n\x1b]0;bad\x07look",
        "action": "look",
        "valid": False,
    }
    return {
        "episode": episode, "success": success, "score": 0.5, "steps": 1, "ending": "done", "detail": "",
        "exchanges": [transition], "last_observation": "The end.", **fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "head"),
    [
        ("first", "e/0: crashed after 1 actions"),
        ("right", "e/2: won after"),
        ("wrong", "e/1: not won after"),
        ("e/3", "e/3: not won after"),
    ],
)
def test_the_wanted_transcript_is_printed_and_harmless(tmp_path: Path, wanted: str, head: str) -> None:
    rows = [row("e/0", None, detail="timeout: slow"), row("e/1", False), row("e/2", True), row("e/3", False)]
    file = tmp_path / "x.responses.jsonl"
    file.write_text("".join(json.dumps(item) + "\n" for item in rows))
    text = printed(lambda reporter: show_response(reporter, file, wanted))
    assert text.strip().startswith(head)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "    Two\\x1b[2J lines." in text
    assert "  | I think" in text
    assert "1> look   (not understood)" in text
    assert text.rstrip().endswith("    The end.")
    assert ("timeout: slow" in text) is (wanted == "first")


def test_an_answer_to_a_problem_can_be_printed_too(tmp_path: Path) -> None:
    file = tmp_path / "x.responses.jsonl"
    rows = [
        {"problem": f"p/{n}", "correct": n == 1, "text": "so\n4", "extracted": "4", "reference": "4"} for n in (0, 1)
    ]
    file.write_text("".join(json.dumps(item) + "\n" for item in rows))
    assert (
        printed(lambda reporter: show_response(reporter, file, "right"))
        == "\np/1: right, read as 4, the answer is 4\n    so\n    4\n"
    )
    file.write_text(json.dumps(rows[0]) + "\n")
    assert "no response is right" in printed(lambda reporter: show_response(reporter, file, "right"))
