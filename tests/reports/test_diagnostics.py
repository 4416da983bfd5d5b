"""Diagnostics are read by their columns, whatever their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from opdkit.reports.configurations import configurations
from opdkit.reports.diagnostics import is_function, record, sections, tables
from opdkit.reports.runs import Run, read
from tests.reports.folders import config, write_lines, write_run

POSITIONS = ["bucket_start", "bucket_stop", "mean", "p1"]


def run(folder: Path, seed: int, rows: list[dict[str, object]]) -> Run:
    write_run(folder, config(seed), [True])
    write_lines(folder / "diagnostics.jsonl", rows)
    found = read(folder)
    assert isinstance(found, Run)
    return found


def test_positions_become_charts_of_the_last_step_over_seeds(tmp_path: Path) -> None:
    def line(step: int, mean: float) -> dict[str, object]:
        rows = [[0, 8, mean, -1.0], [8, 16, mean + 1, None], [16, 32, mean + 2, -3.0]]
        return {"step": step, "diagnostic": "log_ratio_by_position", "columns": POSITIONS, "rows": rows}

    runs = [run(tmp_path / str(seed), seed, [line(1, 9.0), line(5, float(seed))]) for seed in range(2)]
    (section,) = sections(configurations(runs))
    assert section.title == "Log ratio by position"
    assert [chart.title for chart in section.charts] == ["Mean", "P1"]
    np.testing.assert_allclose(section.charts[0].lines[0].x, [0, 8, 16])
    np.testing.assert_allclose(section.charts[0].lines[0].y, [0.5, 1.5, 2.5])


def test_anything_else_is_a_table(tmp_path: Path) -> None:
    rows = [[f"<tok{n}>", n / 3] for n in range(30)]
    line = {"step": 2, "diagnostic": "top_tokens", "columns": ["token", "sum"], "rows": rows}
    groups = configurations([run(tmp_path / "a", 0, [line])])
    assert sections(groups) == []
    (table,) = tables(groups)
    assert (table.name, table.step, table.left_out) == ("top_tokens", 2, 10)
    assert table.rows[1] == ["<tok1>", "0.3333"]


def test_only_a_function_of_its_first_column_is_drawn() -> None:
    def drawn(rows: list[list[object]]) -> bool:
        one = record({"step": 1, "diagnostic": "d", "columns": ["x", "y"], "rows": rows})
        assert one is not None
        return is_function(one)

    assert drawn([[0.01, 1], [0.5, None], [0.99, -2.5]])
    assert not drawn([[3, 1], [1, 2], [2, 3]])
    assert not drawn([[1, "a"], [2, "b"], [3, "c"]])
    assert not drawn([[1, 2], [2, 3]])


def test_a_line_that_is_no_diagnostic_is_passed_over() -> None:
    good = {"step": 1, "diagnostic": "d", "columns": ["a"], "rows": [[1]]}
    assert record(good) is not None
    for wrong in ({"step": "1"}, {"columns": []}, {"rows": [[1, 2]]}, {"rows": "x"}, {"diagnostic": None}):
        assert record(good | wrong) is None
