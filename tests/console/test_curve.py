from __future__ import annotations

import math

from opdkit.console.curve import curve, sparkline


def test_bars_span_the_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([]) == ""


def test_many_values_are_averaged_and_what_is_not_finite_is_left_out() -> None:
    assert sparkline([float(i) for i in range(400)], width=8) == "▁▂▃▄▅▆▇█"
    assert curve("loss", [0.25, math.nan, 0.5, 0.125]) == "loss 0.25 ▃█▁ 0.125"
    assert curve("loss", [1.0, 2.0]) == ""
