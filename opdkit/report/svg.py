"""Charts as inline SVG whose colours are the page's: light or dark, and told apart by markers as well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from markupsafe import Markup

from opdkit.report.charts import Axis, Chart, Line, Values, x_axis, y_axis
from opdkit.report.text import visible

WIDTH, HEIGHT = 340, 206
_RIGHT, _TOP, _BOTTOM = 12, 8, 30
_SIGN, _LEAST_LEFT = 6.4, 40
# Below this many points each one gets a marker.
_FEW = 12
# More lines than this get fainter bands.
_MANY = 4

Colours = Mapping[int, str]
"""A configuration's place -> the CSS class of its colour and marker."""

_MARKERS = {
    "s0": "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0Z",
    "s1": "M-3.2-3.2h6.4v6.4h-6.4Z",
    "s2": "M0-4.2L4 3h-8Z",
    "s3": "M0-4.6L4.2 0L0 4.6L-4.2 0Z",
    "s4": "M0 4.2L4-3h-8Z",
    "s5": "M-1.3-4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7Z",
    "s6": "M-4-1.4h8v2.8h-8Z",
    "s7": "M-1.4-4h2.8v8h-2.8Z",
}


def marker(colour: str) -> str:
    """The path of a colour's marker, around the origin; a small dot for the colour of the rest."""
    return _MARKERS.get(colour, "M-2 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0Z")


def chart(shown: Chart, colours: Colours) -> Markup:
    """A chart of 340 x 206 units, its title left to the page. `data-` attributes let the page read values off it."""
    horizontal, vertical = x_axis(shown), y_axis(shown)
    scale = {
        "left": _left(vertical), "x0": horizontal.low, "x1": horizontal.high, "y0": vertical.low, "y1": vertical.high,
        "log": int(vertical.log), "percent": int(shown.percent), "xlabel": shown.x_label,
    }  # fmt: skip
    attributes = Markup(" ").join(Markup('data-{}="{}"').format(name, _plain(value)) for name, value in scale.items())
    if shown.x_ticks is not None:
        attributes += Markup(' data-words="1"')
    inside = [*_grid(shown, horizontal, vertical), *_references(shown, vertical)]
    order = sorted(shown.lines, key=lambda one: colours[one.place] != "rest")
    for one in order:
        inside.append(_line(one, horizontal, vertical, colours[one.place]))
    label = f"{shown.title}: {len(shown.lines)} lines over {shown.x_label}"
    kind = "chart many" if len(shown.lines) > _MANY else "chart"
    return Markup('<svg class="{}" viewBox="0 0 {} {}" role="img" aria-label="{}" {}>{}</svg>').format(
        kind, WIDTH, HEIGHT, visible(label), attributes, Markup("").join(inside)
    )


def _plain(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _left(vertical: Axis) -> float:
    """The margin that the longest label needs."""
    return max(_LEAST_LEFT, round(8 + _SIGN * max(len(label) for _, label in vertical.ticks)))


def _x(fractions: Values, left: float) -> Values:
    return left + (WIDTH - left - _RIGHT) * fractions


def _y(fractions: Values) -> Values:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * fractions


def _grid(shown: Chart, horizontal: Axis, vertical: Axis) -> Iterator[Markup]:
    left, right, bottom = _left(vertical), WIDTH - _RIGHT, HEIGHT - _BOTTOM
    for place, (_, label) in zip(_positions(vertical), vertical.ticks, strict=True):
        y = float(_y(np.array(place)))
        yield Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(left, y, right)
        yield Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(left - 6, y + 3.5, label)
    for place, (_, label) in zip(_positions(horizontal), horizontal.ticks, strict=True):
        x = float(_x(np.array(place), left))
        yield Markup('<text class="tick middle" x="{:.1f}" y="{}">{}</text>').format(x, bottom + 14, visible(label))
    yield Markup('<text class="tick end axis" x="{}" y="{}">{}</text>').format(
        right, bottom + 27, visible(shown.x_label)
    )


def _positions(axis: Axis) -> list[float]:
    return axis.position(np.array([value for value, _ in axis.ticks], dtype=np.float64)).tolist()


def _references(shown: Chart, vertical: Axis) -> Iterator[Markup]:
    for label, value in shown.references:
        y = float(_y(vertical.position(np.array([value])))[0])
        yield Markup('<path class="reference" d="M{} {:.1f}H{}"/>').format(_left(vertical), y, WIDTH - _RIGHT)
        below = y + 11 if y < _TOP + 14 else y - 4
        yield Markup('<text class="tick end" x="{}" y="{:.1f}">{}</text>').format(WIDTH - _RIGHT, below, visible(label))


def _line(one: Line, horizontal: Axis, vertical: Axis, colour: str) -> Markup:
    x, y = _x(horizontal.position(one.x), _left(vertical)), _y(vertical.position(one.y))
    parts: list[Markup] = []
    if one.low is not None and one.high is not None and colour != "rest":
        low, high = _y(vertical.position(one.low)), _y(vertical.position(one.high))
        parts += [Markup('<path class="band" d="{}"/>').format(d) for d in _bands(x, low, high)]
    parts.append(Markup('<path class="line" d="{}"/>').format(_path(x, y)))
    finite = np.flatnonzero(np.isfinite(y))
    marked = finite if len(finite) <= _FEW else finite[-1:]
    for place in marked.tolist():
        parts.append(
            Markup('<path class="mark" transform="translate({:.1f} {:.1f})" d="{}"/>').format(
                x[place], y[place], marker(colour)
            )
        )
    return Markup('<g class="{}" data-place="{}" data-label="{}">{}</g>').format(
        colour, one.place, visible(one.label), Markup("").join(parts)
    )


def _path(x: Values, y: Values) -> str:
    """A path with a gap wherever y is NaN."""
    parts: list[str] = []
    pen = "M"
    for horizontal, vertical in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(vertical):
            parts.append(f"{pen}{horizontal:.1f} {vertical:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def _bands(x: Values, low: Values, high: Values) -> Iterator[str]:
    """Closed outlines between low and high, one for each stretch without a gap."""
    whole = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], whole.astype(int), [0]])))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - start > 1:
            there = [f"{a:.1f} {b:.1f}" for a, b in zip(x[start:stop], high[start:stop], strict=True)]
            back = [f"{a:.1f} {b:.1f}" for a, b in zip(x[start:stop][::-1], low[start:stop][::-1], strict=True)]
            yield f"M{'L'.join(there + back)}Z"
