"""A report as one HTML file that needs no network. Templates escape everything that is not `Markup`."""

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
from opdkit.intervals import RESAMPLES
from opdkit.report import interval_plot, svg
from opdkit.report.charts import Chart, Section
from opdkit.report.curves import POINTS
from opdkit.report.document import Document
from opdkit.report.prose import commit, environment_remarks, facts, lead, p_text, title
from opdkit.report.results import Benchmark
from opdkit.report.rollouts import Sample
from opdkit.report.runs import Run
from opdkit.report.text import visible

MOST_DIFFERENCES = 15
FOLDED = ("cost", "other")
"""Sections that are closed at first."""
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
        "marker": svg.marker,
        "interval_plot": interval_plot,
        "draw": lambda chart, section: _draw(document, chart, section),
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
        "any_told": any(sample.told for one in document.samples for sample in (*one.last, *one.first)),
        "placed_runs": _placed(document),
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


def _draw(document: Document, chart: Chart, section: Section) -> Markup:
    colours = {0: "plain"} if section.name.startswith("swept-") else document.colours
    return svg.chart(chart, colours)


def _card(template: Any, sample: Sample) -> Markup:
    return Markup(template.render(s=sample))


def _tests(benchmark: Benchmark) -> int:
    return sum(not math.isnan(one.p) for one in benchmark.differences)


def _placed(document: Document) -> Sequence[tuple[int, Run]]:
    return [(place, run) for place, group in enumerate(document.configurations) for run in group.runs]


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
