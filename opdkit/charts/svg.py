"""Renders charts as inline SVG: matplotlib's paths with CSS classes instead of colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from opdkit.charts.axes import draw_chart
from opdkit.charts.chart import Chart
from opdkit.charts.style import MARKERS, image, styled
from opdkit.untrusted import visible

WIDTH, HEIGHT = 340, 206
_RIGHT, _TOP, _BOTTOM = 12, 8, 30
_CHARACTER, _LEAST_LEFT = 6.4, 40
_MANY_LINES = 4
_SVG = "{http://www.w3.org/2000/svg}"
_PATH, _USE = f"{_SVG}path", f"{_SVG}use"
_HREF = "{http://www.w3.org/1999/xlink}href"
_ANCHOR = re.compile(r"text-anchor: (\w+)")
_KINDS = ("grid", "reference", "band", "line", "interval", "seed", "mean", "before", "teacher", "zero")


def chart_svg(chart: Chart, colours: Mapping[int, str]) -> Markup:
    """A chart of 340 x 206 units without its title.

    Each line is a group with `data-index` and `data-label`; `data-` attributes of the root hold the scale from which
    the page's script reads values.
    """
    with styled():
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        draw_chart(axes, chart, colours)
        labels = axes.yaxis.get_major_formatter().format_ticks(axes.get_yticks().tolist())
        left = max(_LEAST_LEFT, round(8 + _CHARACTER * max(map(len, labels), default=0)))
        across, up = WIDTH - left - _RIGHT, HEIGHT - _BOTTOM - _TOP
        axes.set_position((left / WIDTH, _BOTTOM / HEIGHT, across / WIDTH, up / HEIGHT))
        axes.grid(axis="x", visible=False)
        axes.tick_params(axis="x", pad=5)
        axes.spines[:].set_visible(False)
        names = {line.index: (colours[line.index], visible(line.label)) for line in chart.lines}
        inside = figure_markup(figure, names)
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    scale = {
        "left": left, "x0": float(x0), "x1": float(x1), "y0": float(y0), "y1": float(y1), "log": int(chart.log),
        "percent": int(chart.percent), "xlabel": chart.x_label,
    }  # fmt: skip
    data = Markup(" ").join(Markup('data-{}="{}"').format(name, value) for name, value in scale.items())
    if chart.x_ticks is not None:
        data += Markup(' data-words="1"')
    label = visible(f"{chart.title}: {len(chart.lines)} lines over {chart.x_label}")
    kind = "chart many" if len(chart.lines) > _MANY_LINES else "chart"
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" {}>{}</svg>').format(
        kind, WIDTH, HEIGHT, label, data, inside
    )


def figure_markup(figure: Figure, names: Mapping[int, tuple[str, str]] = MappingProxyType({})) -> Markup:
    """The grid, texts and artists whose gid is in `_KINDS`, each path with its gid as CSS class.

    names: index of a line -> (class, label) of the group of its paths, whose gids end in `:index`.
    """
    for axes in figure.axes:
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_gid("grid")
        axes.tick_params(left=False, bottom=False)
        axes.patch.set_visible(False)
    root = ElementTree.fromstring(image(figure, "svg"))
    outlines = {path.get("id", ""): path.get("d", "") for path in root.iter(_PATH)}
    behind: list[Markup] = []
    lines: dict[int, list[Markup]] = {}
    for group in root.iter(f"{_SVG}g"):
        kind, _, index = group.get("id", "").partition(":")
        if kind in _KINDS:
            paths = [path for element in group.iter() if (path := _path(element, kind, outlines)) is not None]
            (lines.setdefault(int(index), []) if index else behind).extend(paths)
    texts = [_text(element) for element in root.iter(f"{_SVG}text")]
    groups = [
        Markup('<g class="{}" data-index="{}" data-label="{}">{}</g>').format(
            names[index][0], index, names[index][1], Markup("").join(paths)
        )
        for index, paths in lines.items()
    ]
    return Markup("").join([*behind, *texts, *groups])


def _path(element: ElementTree.Element, kind: str, outlines: Mapping[str, str]) -> Markup | None:
    """A path, or a marker moved to its point; None for every other element."""
    if element.tag == _USE:
        x, y = float(element.get("x", 0)), float(element.get("y", 0))
        return Markup('<path class="{}" transform="translate({:.1f} {:.1f})" d="{}"/>').format(
            "mark" if kind == "line" else kind, x, y, _rounded(outlines[element.get(_HREF, "")[1:]])
        )
    if element.tag == _PATH and not element.get("id"):
        return Markup('<path class="{}" d="{}"/>').format(kind, _rounded(element.get("d", "")))
    return None


def _rounded(d: str) -> str:
    """A path rounded to a tenth of a unit, without redundant spaces."""
    tenths = re.sub(r"-?\d+\.?\d*(?:e-?\d+)?", lambda match: f"{float(match.group()):.1f}".removesuffix(".0"), d)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", tenths.replace("\n", " ")).strip()


def _text(element: ElementTree.Element) -> Markup:
    anchor = _ANCHOR.search(element.get("style", ""))
    x, y = float(element.get("x", 0)), float(element.get("y", 0))
    return Markup('<text class="tick {}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        anchor.group(1) if anchor else "start", x, y, element.text or ""
    )


@cache
def marker_path(colour: str) -> str:
    """The outline of a series' marker around the origin."""
    with styled():
        figure = Figure(figsize=(1, 1))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.plot([0], [0], MARKERS[colour], markersize=7.5, markeredgewidth=0, gid="mean")
        return re.findall(r'class="mean" transform[^>]* d="([^"]*)"', figure_markup(figure))[0]
