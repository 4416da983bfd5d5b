"""Tiny models of the architectures that people bring: scores, greedy answers and steps are transformers' own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.models.examine import examine
from tests.models.models_page import PAGE, refusal, row_of
from tests.models.tiny_architectures import ARCHITECTURES, REFUSED, Architecture


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, id=a.kind, marks=() if a.fast else pytest.mark.slow) for a in ARCHITECTURES],
)
def test_scores_decoding_and_training_are_exact(architecture: Architecture, tmp_path: Path) -> None:
    found = examine(architecture, tmp_path)
    assert found.score_error < 1e-5
    assert found.gradient_error < 1e-4
    assert found.packing_error < 1e-4
    assert found.same_greedy
    assert all(math.isfinite(loss) for loss in found.losses)
    assert found.moved
    assert row_of(found.cells) in PAGE.read_text(encoding="utf-8"), "python -m tests.models.models_page --write"


@pytest.mark.parametrize("architecture", REFUSED, ids=lambda a: a.kind)
def test_what_the_loop_cannot_do_is_refused_and_the_page_says_so(architecture: Architecture, tmp_path: Path) -> None:
    said = refusal(architecture, tmp_path)
    assert "\n" not in said
    row = row_of((architecture.name, f"`{architecture.kind}`", said))
    assert row in PAGE.read_text(encoding="utf-8"), "python -m tests.models.models_page --write"


def test_the_page_lists_the_architectures_and_no_others() -> None:
    rows = PAGE.read_text(encoding="utf-8").partition("## Folders")[0].splitlines()
    named = [row.split(" | ")[1] for row in rows if row.startswith("| ") and "`model_type`" not in row and "`" in row]
    assert named == [f"`{a.kind}`" for a in (*ARCHITECTURES, *REFUSED)]
    assert len(ARCHITECTURES) >= 45
    assert sum(a.fast for a in ARCHITECTURES) >= 12
