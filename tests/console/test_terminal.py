"""What a person sees: live on a terminal, plain elsewhere; untrusted text is shown and never obeyed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from opdkit.console.summary import close_evaluation, close_training
from opdkit.console.terminal import LiveReporter, PlainReporter, terminal_reporter

HOSTILE = "a [red]b[/red] [/] \x1b[31mc\x07\r"
RESULT = {"pass@1": 0.25, "ci95": [0.2, 0.3], "n_problems": 200, "truncated_fraction": 0.0}
SUMMARY = {
    "benchmark": "chain_sum",
    "before": RESULT,
    "after": RESULT | {"pass@1": 0.9},
    "teacher": RESULT | {"pass@1": 1.0, "ci95": None},
    "steps": 100,
    "seconds": 130.2,
    "metrics_share": 0.041,
    "run_dir": "runs/a b",
}


def test_plain_lines_where_it_is_no_terminal() -> None:
    out = io.StringIO()
    with terminal_reporter(out) as reporter:
        assert isinstance(reporter, PlainReporter)
        reporter.stage("loading")
        reporter.stage("loading")
        for step in range(1, 101):
            reporter.step(step, 100, {"train/loss": 0.51234, "other": 1.0})
    lines = out.getvalue().splitlines()
    assert lines[0] == "loading"
    assert lines[1] == "step 1/100  loss 0.512"
    assert lines[-1] == "step 100/100  loss 0.512"
    assert len(lines) == 3


def test_untrusted_text_is_not_obeyed() -> None:
    out = io.StringIO()
    plain = PlainReporter(out)
    plain.note(HOSTILE)
    plain.table(HOSTILE, ["x"], [[HOSTILE]])
    assert "\x1b" not in out.getvalue()
    assert "a [red]b[/red] [/] \\x1b[31mc\\x07\\r" in out.getvalue()
    drawn = io.StringIO()
    live = LiveReporter(Console(file=drawn, force_terminal=True, color_system=None, width=200))
    live.stage(HOSTILE)
    live.note(HOSTILE)
    live.step(1, 2, {"train/loss": 1.0})
    live.table(HOSTILE, [HOSTILE], [[HOSTILE]])
    live.close()
    assert drawn.getvalue().count("a [red]b[/red] [/] \\x1b[31mc") >= 4
    assert "\x1b[31m" not in drawn.getvalue()


@pytest.mark.parametrize(("variable", "coloured"), [("NO_COLOR", False), ("UNUSED", True)])
def test_no_color(variable: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, "1")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with terminal_reporter(out) as reporter:
        assert isinstance(reporter, LiveReporter)
        reporter.step(1, 2, {"train/loss": 1.0})
    assert ("\x1b[38" in out.getvalue() or "\x1b[32m" in out.getvalue() or "\x1b[36m" in out.getvalue()) is coloured


def test_the_closing_table_says_before_after_teacher_and_what_is_next() -> None:
    out = io.StringIO()
    close_training(PlainReporter(out), SUMMARY, ["benchmark=gsm8k"])
    text = out.getvalue()
    assert "student before  25.0 %   20.0 to 30.0   0.0 %      200" in text
    assert "student after   90.0 %" in text
    assert "teacher         100.0 %" in text
    assert "2 min 10 s" in text
    assert "metrics and diagnostics took 4.1 % of step time" in text
    assert "runs/a b/metrics.jsonl" in text
    assert """opdkit eval 'model.path='"'"'runs/a b/final'"'"'' benchmark=gsm8k""" in text


def test_an_evaluation_closes_with_its_table() -> None:
    out = io.StringIO()
    close_evaluation(PlainReporter(out), [RESULT | {"benchmark": "gsm8k"}], Path("runs/x"))
    assert "25.0 %" in out.getvalue()
    assert "runs/x/evals" in out.getvalue()


def test_reporting_needs_no_torch() -> None:
    code = "import sys, opdkit.console.terminal, opdkit.console.summary; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
