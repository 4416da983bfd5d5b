"""The doctor's sections, wide and narrow; text of models is shown and never obeyed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from opdkit.doctor.report import Grid, Note, Section
from opdkit.doctor.view import ExaminationView

HOSTILE = "a [red]b[/red] [/] \x1b[31mc\x07"
SHOWN = "a [red]b[/red] [/] \\x1b[31mc\\x07"


def shown(section: Section, width: int) -> str:
    out = io.StringIO()
    view = ExaminationView(Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False))
    view.stage(HOSTILE)
    view.section(section)
    view.close("warning", 2)
    return out.getvalue()


def test_hostile_text_everywhere() -> None:
    grid = Grid((HOSTILE,), ((HOSTILE,),))
    section = Section(HOSTILE, (Note("stop", HOSTILE, HOSTILE),), (grid,), ((HOSTILE, HOSTILE),))
    found = shown(section, 200)
    assert found.count(SHOWN) == 7
    assert "\x1b[31m" not in found


@pytest.mark.parametrize("width", [40, 80, 160])
def test_nothing_is_lost_on_any_width(width: int) -> None:
    sides = (("student", "left " * 9 + "\nsecond"), ("teacher", "right " * 9))
    section = Section(
        "chat templates", (Note("ok", "word " * 40),), (Grid(("x", "y"), (("p" * 60, "q" * 60),)),), sides
    )
    found = shown(section, width)
    assert max(map(len, found.splitlines())) <= width
    for word, count in (("word", 40), ("left", 9), ("right", 9), ("second", 1)):
        assert found.count(word) == count
    assert (found.count("p"), found.count("q")) == (60 + found.count("templates"), 60)
    beside = any("student" in line and "teacher" in line for line in found.splitlines())
    assert beside == (width >= 90)
    assert "verdict  warning  2 to look at" in found
