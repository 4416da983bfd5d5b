"""Each kind of case: from measurements to a summary, and from a summary to markdown."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from benchmarks import comparison, growth, roofline
from benchmarks.cases import Case, View

_VIEWS: dict[View, ModuleType] = {"comparison": comparison, "growth": growth, "roofline": roofline}


def summary(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """The case's numbers, ready for JSON."""
    return _VIEWS[case.view].summary(case, found)


def section(case: Case, summarised: Mapping[str, Any]) -> list[str]:
    """The case's section of the page, including its heading."""
    told = [f"## {case.title}", "", *_VIEWS[case.view].lines(case, summarised)]
    if case.most_repeats is not None:
        told += ["", f"This section takes long and has at most {case.most_repeats} repeat(s)."]
    return told
