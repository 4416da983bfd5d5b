"""Charts as inline SVG: matplotlib's paths and texts, with the page's CSS classes in place of matplotlib's colours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
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
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_ANCHOR = re.compile(r"text-anchor: (\w+)")


@dataclass(frozen=True)
class Shape:
    """A path of a drawn figure.

    Attributes:
        group: The gid of the artist, which names the CSS class.
        d: The outline, to a tenth of a unit.
        offset: Where the outline is moved to, None for none.
    """

    group: str
    d: str
    offset: tuple[float, float] | None

    def markup(self, css_class: str) -> Markup:
        moved = Markup(' transform="translate({:.1f} {:.1f})"').format(*self.offset) if self.offset else Markup("")
        return Markup('<path class="{}"{} d="{}"/>').format(css_class, moved, self.d)


def chart_svg(chart: Chart, colours: Mapping[int, str]) -> Markup:
    """A chart of 340 x 206 units without its title.

    Each line is a group with `data-index` and `data-label`; the `data-` attributes of the whole hold its scale, from
    which the page's script reads values.
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
        inside = drawn(figure)
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    scale = {
        "left": left, "x0": float(x0), "x1": float(x1), "y0": float(y0), "y1": float(y1), "log": int(chart.log),
        "percent": int(chart.percent), "xlabel": chart.x_label,
    }  # fmt: skip
    data = Markup(" ").join(Markup('data-{}="{}"').format(name, value) for name, value in scale.items())
    if chart.x_ticks is not None:
        data += Markup(' data-words="1"')
    names = {line.index: (colours[line.index], visible(line.label)) for line in chart.lines}
    label = visible(f"{chart.title}: {len(chart.lines)} lines over {chart.x_label}")
    kind = "chart many" if len(chart.lines) > _MANY_LINES else "chart"
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" {}>{}</svg>').format(
        kind, WIDTH, HEIGHT, label, data, inside.markup(names)
    )


@dataclass(frozen=True)
class Drawing:
    """The shapes of a figure in drawing order, and its texts."""

    shapes: tuple[Shape, ...]
    texts: Markup

    def markup(self, names: Mapping[int, tuple[str, str]]) -> Markup:
        """Grid and texts, then the lines in groups. names: index of a line -> (class, label)."""
        behind = [shape.markup(shape.group) for shape in self.shapes if ":" not in shape.group]
        groups: dict[int, list[Markup]] = {}
        for shape in self.shapes:
            kind, _, index = shape.group.partition(":")
            if index:
                css_class = "mark" if kind == "line" and shape.offset else kind
                groups.setdefault(int(index), []).append(shape.markup(css_class))
        lines = [
            Markup('<g class="{}" data-index="{}" data-label="{}">{}</g>').format(
                names[index][0], index, names[index][1], Markup("").join(paths)
            )
            for index, paths in groups.items()
        ]
        return Markup("").join([*behind, self.texts, *lines])


def drawn(figure: Figure) -> Drawing:
    """Draws a figure, and keeps the artists that have a gid, the grid and the texts."""
    for axes in figure.axes:
        for line in (*axes.get_xgridlines(), *axes.get_ygridlines()):
            line.set_gid("grid")
        axes.tick_params(left=False, bottom=False, top=False)
        axes.patch.set_visible(False)
    root = ElementTree.fromstring(image(figure, "svg"))
    outlines = {path.get("id"): path.get("d", "") for path in root.iter(f"{_NAMESPACE}path") if path.get("id")}
    shapes: list[Shape] = []
    for group in root.iter(f"{_NAMESPACE}g"):
        name = group.get("id", "")
        if name.partition(":")[0] in _GROUPS:
            shapes += _shapes(group, name, outlines)
    texts = Markup("").join(_text(element) for element in root.iter(f"{_NAMESPACE}text"))
    return Drawing(tuple(shapes), texts)


_GROUPS = ("grid", "reference", "band", "line", "interval", "seed", "mean", "before", "teacher", "zero")
"""Artists that reach the page: the part of a gid before the colon."""


def _shapes(group: ElementTree.Element, name: str, outlines: Mapping[str | None, str]) -> Iterator[Shape]:
    for element in group.iter():
        if element.tag == f"{_NAMESPACE}use":
            outline = outlines[element.get(_HREF, "")[1:]]
            yield Shape(name, _rounded(outline), (float(element.get("x", 0)), float(element.get("y", 0))))
        elif element.tag == f"{_NAMESPACE}path" and not element.get("id"):
            yield Shape(name, _rounded(element.get("d", "")), None)


def _rounded(d: str) -> str:
    """A path to a tenth of a unit, without the spaces that say nothing."""
    tenths = re.sub(r"-?\d+\.?\d*(?:e-?\d+)?", lambda match: f"{float(match.group()):.1f}".removesuffix(".0"), d)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", tenths.replace("\n", " ")).strip()


def _text(element: ElementTree.Element) -> Markup:
    anchor = _ANCHOR.search(element.get("style", ""))
    side = anchor.group(1) if anchor else "start"
    return Markup('<text class="tick {}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        side, float(element.get("x", 0)), float(element.get("y", 0)), element.text or ""
    )


@cache
def marker_path(colour: str) -> str:
    """The outline of a series' marker around the origin, as in its charts."""
    with styled():
        figure = Figure(figsize=(1, 1))
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.plot([0], [0], MARKERS[colour], markersize=7.5, markeredgewidth=0, gid="mean")
        return next(shape.d for shape in drawn(figure).shapes if shape.group == "mean" and shape.offset)
