"""The numbers of short runs are what they were: bit for bit on the machine that recorded them.

On another machine, where kernels round otherwise, the metrics of the first step are near the recorded ones; record
again there (`scripts/record_numbers.py --code <the code to hold to>`) for the whole comparison.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.number_cases import CASES, FIXTURES, MACHINE, Case, Runner, machine, metrics_of, numbers

ROOT = Path(__file__).resolve().parents[2]
SMALLEST = 1e-6
FIRST_STEP = 1
AT_ROUNDING = ("failure/", "opd/positive_fraction")
"""Signs and single tokens of differences near 0, which another machine's rounding changes."""

SUMMED = r"\| (mean|norm)$"
"""Sums over a tensor, whose last bit depends on the threads of the test. Its hash stands beside them."""

PLAYABLE = shutil.which("java") is not None and importlib.util.find_spec("textworld_express") is not None
NO_GAMES = pytest.mark.skipif(not PLAYABLE, reason="needs Java and TextWorld-Express")


def marked(case: Case) -> Any:
    marks = [*([pytest.mark.slow] if case.slow else []), *([NO_GAMES] if case.games else [])]
    return pytest.param(case, id=case.name, marks=marks)


def recorded(case: Case) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{case.name}.json").read_text(encoding="utf-8"))


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Where each leaf stands -> its repr, which for a float keeps every bit."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for inner, part in items for key, leaf in flat(part, f"{name} | {inner}").items()}
    return {name: repr(value)}


def changed(was: Any, now: Any, mended: str = "") -> dict[str, tuple[str, str | None]]:
    """Where a recorded leaf differs or is missing: what it was, what it is. What is new is no change."""
    found = flat(now)
    differing = {name: (leaf, found.get(name)) for name, leaf in flat(was).items() if found.get(name) != leaf}
    passed_over = "|".join(part for part in (SUMMED, mended) if part)
    return {name: pair for name, pair in differing.items() if not re.search(passed_over, name)}


def near(name: str, was: Any, now: Any, relative: float) -> bool:
    """Whether a metric may be the same number on two machines."""
    if was == now or not isinstance(now, int | float | None):
        return was == now
    if any(f"/{rough}" in f"/{name}" for rough in AT_ROUNDING):
        return True
    return None not in (was, now) and now == pytest.approx(was, rel=relative, abs=SMALLEST)


def far(was: dict[str, Any], now: dict[str, Any], relative: float, mended: str = "") -> dict[str, tuple[Any, Any]]:
    """The same for the metrics up to the first step, where a number may be `relative` away."""
    found: dict[str, tuple[Any, Any]] = {}
    for old, new in zip(was["metrics"][: FIRST_STEP + 1], now["metrics"], strict=False):
        for name, value in old.items():
            other = new.get(name, "missing")
            if not near(name, value, other, relative) and not (mended and re.search(mended, name)):
                found[f"step {old['step']} {name}"] = (value, other)
    return found


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One process for all cases: with each run it is shown, too, that no run depends on the one before."""
    opened = Runner(ROOT, tmp_path_factory.mktemp("runner") / "log.txt")
    yield opened
    opened.close()


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_a_run_computes_what_it_did(case: Case, runner: Runner, tmp_path: Path) -> None:
    was, now = recorded(case), numbers(runner.run(case, tmp_path))
    assert len(now["metrics"]) == len(was["metrics"])
    if machine() == json.loads(MACHINE.read_text(encoding="utf-8")):
        assert changed(was, now, case.mended) == {}
    else:
        assert far(was, now, case.relative, case.mended) == {}


def test_every_case_has_its_record_and_every_record_its_case() -> None:
    assert sorted(file.name for file in FIXTURES.iterdir()) == sorted(
        [MACHINE.name, *(f"{c.name}.json" for c in CASES)]
    )


def test_a_last_bit_a_missing_metric_and_another_weight_are_found() -> None:
    was = recorded(CASES[0])
    now = json.loads(json.dumps(was))
    assert changed(was, now) == {}
    assert far(was, now, 1e-4) == {}
    loss = now["metrics"][1]["train/loss"]
    now["metrics"][1] |= {"train/loss": loss * (1 + 1e-3), "train/new": 1.0}
    now["metrics"][2]["train/lr"] *= 1 + 2**-52
    del now["metrics"][1]["opd/overlap"]
    name = next(iter(now["weights"]))
    now["weights"][name]["sha256"] = "0"
    assert set(changed(was, now)) == {
        " | metrics | 1 | train/loss", " | metrics | 2 | train/lr", " | metrics | 1 | opd/overlap",
        f" | weights | {name} | sha256",
    }  # fmt: skip
    assert set(far(was, now, 1e-4)) == {"step 1 train/loss", "step 1 opd/overlap"}


def test_what_was_renamed_or_moved_is_found_under_its_new_name() -> None:
    moved = {"k": "objective.k", "aggregation=token_mean": "loss=mean", "steps": ""}
    case = Case("x", ("k=8", "aggregation=token_mean", "seed=1"))
    assert case.arguments(moved)[-3:] == ["objective.k=8", "loss=mean", "seed=1"]
    assert "steps=2" in case.arguments({})
    assert not any(text.startswith("steps") for text in case.arguments(moved))

    row = {"step": 1, "loss/value": 0.5, "sums/loss/value": 0.25, "time/rollout_s": 1.0, "sums/perf/x": 1.0}
    expected = {"step": 1, "train/loss": 0.5, "sums/train/loss": 0.25}
    assert metrics_of(row, {"train/loss": "loss/value"}) == expected
