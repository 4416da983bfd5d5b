"""`opdkit report` on the real command line."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit
from tests.reports.folders import SAMPLED, TOPK, config, write_run

HOSTILE = "</script><script>alert(1)</script>\u202e\x1b[31m"


def sample(step: int) -> dict[str, object]:
    return {
        "step": step, "problem": "p", "prompt": HOSTILE, "response": HOSTILE, "reference": HOSTILE,
        "extracted": HOSTILE, "reward": 0.0,
        "stop_reason": "stop", "tokens": 2, "token_texts": [HOSTILE, "b"], "log_ratio": [3.0, None],
        "counted": [True, False],
    }  # fmt: skip


def runs(folder: Path) -> None:
    for name, objective, right in (("topk", TOPK, 8), ("sampled", SAMPLED, 5)):
        for seed in range(3):
            correct = [n < right + seed * (name == "topk") for n in range(12)]
            write_run(folder / f"{name}-{seed}", config(seed, objective), correct, samples=[sample(1), sample(3)])


def test_a_report_in_all_its_forms(opdkit: Opdkit, tmp_path: Path) -> None:
    runs(tmp_path / "runs")
    told = opdkit("report", "runs", "--out", "told")
    assert (told.status, told.err) == (0, "")
    assert told.out == "6 runs, 2 configurations: told/report.html\n"
    page = (tmp_path / "told" / "report.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert 'class="p3" title="+3.00"' in page
    assert "masked, not scored" in page
    assert "opdkit train objective=topk" in page
    assert "commit 0123456789" in page
    assert "TopK: 75.0\u00a0% pass@1 on sums" in page
    text = (tmp_path / "told" / "report.md").read_text(encoding="utf-8")
    assert "| TopK | 3 | **75.0\u00a0%**" in text
    with (tmp_path / "told" / "differences.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["first"], row["second"], row["pairs"]) == ("TopK", "SampledToken", "3")
    assert float(row["difference"]) == pytest.approx(1 / 3, abs=1e-5)
    pictures = {path.name for path in (tmp_path / "told").glob("*.png")}
    assert {"results-sums.png", "learning.png", "variance.png"} <= pictures


def test_the_page_asks_for_nothing(opdkit: Opdkit, tmp_path: Path) -> None:
    runs(tmp_path / "runs")
    assert opdkit("report", "runs").status == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"'](?!#|data:)", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_what_is_no_run_is_told_and_the_rest_is_reported(opdkit: Opdkit, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "whole", config(), [True])
    dead = write_run(tmp_path / "runs" / "dead", config(1), None)
    with (dead / "metrics.jsonl").open("a") as file:
        file.write('{"step"')
    (tmp_path / "empty").mkdir()
    told = opdkit("report", "runs", "empty", "nowhere")
    assert told.status == 0
    assert [line.split(": ")[1] for line in told.err.splitlines()] == ["empty", "nowhere", "runs/dead", "runs/dead"]
    assert "2 runs, 1 configuration: " in told.out


def test_nothing_left_is_bad_input(opdkit: Opdkit, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = opdkit("report", "empty")
    assert told.status == 2
    assert told.err == "opdkit: error: no run to report on: empty: contains no run (no config.yaml in it or below)\n"
    assert not (tmp_path / "report").exists()
    assert opdkit("report").status == 2


def test_only_unfinished_runs_have_curves_and_no_results(opdkit: Opdkit, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "a", config(), None)
    assert opdkit("report", "runs").status == 0
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Results on" not in page
    assert "Learning curves" in page


def test_a_report_needs_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path / "run", config(), [True])
    code = (
        "import sys; from opdkit.cli.main import main; status = main(['report', 'run'])\n"
        "heavy = {'torch', 'transformers', 'hydra', 'omegaconf', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
