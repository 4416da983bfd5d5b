"""Draws a curve on one line of the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


def sparkline(values: Sequence[float], width: int = _WIDTH) -> str:
    """Finite values as bars scaled from minimum to maximum; more than `width` values are averaged in groups."""
    kept = [value for value in values if math.isfinite(value)]
    if len(kept) > width:
        edges = [round(place * len(kept) / width) for place in range(width + 1)]
        kept = [sum(kept[a:b]) / (b - a) for a, b in pairwise(edges)]
    if not kept:
        return ""
    low, high = min(kept), max(kept)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] for value in kept)


def curve(name: str, values: Sequence[float]) -> str:
    """A line such as `loss 0.21 ▇▅▃▁ 0.05`; empty with fewer than three finite values."""
    finite = [value for value in values if math.isfinite(value)]
    return f"{name} {finite[0]:.3g} {sparkline(finite)} {finite[-1]:.3g}" if len(finite) > 2 else ""
