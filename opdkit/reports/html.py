"""Renders a report as one self-contained HTML file; everything except `Markup` is escaped."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from opdkit import __version__
from opdkit.charts.svg import chart_svg, marker_path
from opdkit.intervals import RESAMPLES
from opdkit.reports import interval_plot
from opdkit.reports.curves import POINTS
from opdkit.reports.document import Document
from opdkit.reports.prose import commit, environment_remarks, facts, lead, p_text, title
from opdkit.reports.results import Benchmark
from opdkit.reports.rollouts import Sample
from opdkit.reports.runs import Run
from opdkit.untrusted import visible

MOST_DIFFERENCES = 15
FOLDED = ("cost", "other")
"""Sections that are initially collapsed."""
_FOLDER = Path(__file__).parent / "page"


def page(document: Document) -> str:
    """The whole page."""
    templates = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["visible"] = lambda text: text if isinstance(text, Markup) else visible(str(text))
    card = templates.get_template("card.html.jinja")
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    context: dict[str, Any] = {
        "document": document,
        "colours": document.colours,
        "marker": marker_path,
        "interval_plot": interval_plot,
        "draw": lambda chart, section: chart_svg(chart, document.colours_of(section)),
        "card": lambda sample: _card(card, sample),
        "title": title(document),
        "facts": facts(document),
        "lead": lead(document),
        "links": _links(document),
        "n_rest": sum(colour == "rest" for colour in document.colours.values()),
        "n_tests": _tests,
        "folded": FOLDED,
        "most_differences": MOST_DIFFERENCES,
        "p_text": p_text,
        "any_scored": any(sample.scored for one in document.samples for sample in (*one.last, *one.first)),
        "indexed_runs": _indexed(document),
        "commit": commit,
        "environment_remarks": environment_remarks(document.runs),
        "resamples": RESAMPLES,
        "points": POINTS,
        "version": __version__,
        "style": Markup((_FOLDER / "report.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return templates.get_template("report.html.jinja").render(context)


def _card(template: Any, sample: Sample) -> Markup:
    return Markup(template.render(s=sample))


def _tests(benchmark: Benchmark) -> int:
    return sum(not math.isnan(one.p) for one in benchmark.differences)


def _indexed(document: Document) -> Sequence[tuple[int, Run]]:
    return [(index, run) for index, group in enumerate(document.configurations) for run in group.runs]


def _links(document: Document) -> list[tuple[str, str]]:
    links = [(f"results-{n}", one.name) for n, one in enumerate(document.benchmarks, 1)]
    if len(links) == 1:
        links = [("results-1", "Results")]
    plain = [section for section in document.sections if section.name not in FOLDED]
    links += [(section.name, section.title) for section in plain if not section.name.startswith("diagnostic-")]
    drawn = next((section.name for section in plain if section.name.startswith("diagnostic-")), None)
    if drawn or document.tables:
        links.append((drawn or "diagnostics", "Diagnostics"))
    links += [("rollouts", "Rollouts")] if document.samples else []
    return [*links, ("configurations", "What differs"), ("runs", "Runs"), ("method", "How to read this")]
