"""Print a markdown table of finished runs, grouped by objective: `seed_table.py RUN [RUN ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from opdkit.intervals import t_interval


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % t-interval over seeds, in percent; only the mean for one seed."""
    estimate = t_interval(values)
    half = f" ± {100 * (estimate.high - estimate.mean):.1f}" if estimate.has_interval else ""
    return f"{100 * estimate.mean:.1f}{half}"


def read(folder: Path) -> tuple[str, int, dict[str, Any]]:
    """(objective, seed, summary) of a finished run. Raises SystemExit with the folder's name if it has none."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"{folder} is not a finished run: {error.strerror} ({Path(str(error.filename)).name})")
    return label(config["objective"]), config["seed"], summary


def label(objective: dict[str, Any]) -> str:
    """A short name for a resolved objective: its support, k and tail, or its class."""
    if "support" not in objective:
        return str(objective["_target_"]).rsplit(".", 1)[-1]
    parts = [objective["support"], objective.get("k"), objective.get("tail"), objective["estimator"]]
    return ", ".join(str(part) for part in parts if part is not None)


def main(folders: Sequence[str]) -> None:
    """Rows: one per run, then one per objective."""
    if not folders:
        sys.exit(__doc__)
    runs = sorted((read(Path(folder)) for folder in folders), key=lambda run: run[:2])
    print("| objective | seed | before | after (95 % interval over problems) | teacher | cut | minutes |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for objective, seed, summary in runs:
        low, high = summary["after"]["ci95"]
        cells = [100 * summary[name]["pass@1"] for name in ("before", "after", "teacher")]
        cut, minutes = 100 * summary["after"]["truncated_fraction"], summary["seconds"] / 60
        print(
            f"| {objective} | {seed} | {cells[0]:.1f} | {cells[1]:.1f} ({100 * low:.1f} to {100 * high:.1f}) "
            f"| {cells[2]:.1f} | {cut:.1f} | {minutes:.1f} |"
        )
    for objective in sorted({name for name, _, _ in runs}):
        after = [summary["after"]["pass@1"] for name, _, summary in runs if name == objective]
        print(f"| **{objective}** | {len(after)} seeds | | **{interval(after)}** (t-interval over seeds) | | | |")


if __name__ == "__main__":
    main(sys.argv[1:])
