"""Writes docs/results/objectives.md from the output of objectives_exact.py and relatives.py.

python scripts/results/objectives_page.py runs/objectives_exact runs/relatives
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import relatives
from learning_rates import accuracy

from opdkit.intervals import t_interval

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "objectives.md"
Numbers = Mapping[str, Mapping[str, float]]
"""Values per member: name -> number."""


def interval(values: Sequence[float], digits: int) -> str:
    """Mean and Student's 95 % interval; for fewer than three, the values."""
    if len(values) < 3:
        return ", ".join(f"{value:.{digits}f}" for value in values)
    return t_interval(values).text(digits)


def ratio(values: Sequence[float], reference: Sequence[float]) -> str:
    """The geometric mean of the ratios, with the interval of their logarithms; for fewer than three, the ratios."""
    logs = [math.log(a / b) for a, b in zip(values, reference, strict=True) if a > 0 and b > 0]
    if len(logs) < 3:
        return ", ".join(f"{math.exp(one):.2f}" for one in logs)
    found = t_interval(logs)
    return f"{math.exp(found.mean):.2f} ({math.exp(found.low):.2f} to {math.exp(found.high):.2f})"


def exact_table(known: Mapping[str, Any]) -> list[str]:
    """One row per member, over the worlds."""
    worlds: list[Numbers] = list(known["gradient"].values())
    plain = [world["sampled"]["noise_scale"] for world in worlds]
    lines = [
        "| objective | variance over squared mean, to `sampled`'s | bias | cosine | rate | KL after training, nats |",
        "|---|---|---|---|--:|---|",
    ]
    for name, outcome in known["trained"].items():
        numbers = [world[name] for world in worlds]
        cells = (
            ratio([one["noise_scale"] for one in numbers], plain),
            interval([one["bias"] for one in numbers], 2),
            t_interval([one["cosine"] for one in numbers]).clipped(-1.0, 1.0).text(2),
            f"{outcome['rate']:g}",
            interval(outcome["kl"], 3),
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def embedded_table(root: Path) -> list[str]:
    """One row per member, over the measured seeds."""
    files = sorted((root / "gradients").glob("seed*.json"))
    seeds: list[Numbers] = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    lines = [
        "| objective | seeds | variance over squared mean, to `sampled`'s | excess | cosine |",
        "|---|--:|---|---|---|",
    ]
    for name in relatives.MEMBERS:
        own = [(seed[name], seed["sampled"]) for seed in seeds if name in seed]
        usable = [(a, b) for a, b in own if a["noise_scale"] > 0 and b["noise_scale"] > 0]
        if not own:
            continue
        cells = (
            str(len(own)),
            ratio([a["noise_scale"] for a, _ in usable], [b["noise_scale"] for _, b in usable]),
            interval([a["excess"] for a, _ in own], 2),
            interval([a["cosine"] for a, _ in own], 2),
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def accuracy_table(root: Path) -> list[str]:
    """pass@1 of every finished run by rate on the selection's seed, and of the compared seeds."""
    tried = {float(folder.parent.name[2:]) for folder in (root / "grid").glob("*/lr*/summary.json")}
    rates = sorted({*relatives.COMPARED.rates, *tried})
    head = " | ".join(f"{rate:g}" for rate in rates)
    lines = [
        f"| objective | {head} | compared seeds | pass@1 of them | to `sampled`, by seed |",
        "|---|" + "--:|" * len(rates) + "--:|---|---|",
    ]
    plain = finals(root, "sampled")
    for name in relatives.COMPARED.members:
        grid = {rate: accuracy(root, relatives.COMPARED.selection(name, rate)) for rate in rates}
        after = finals(root, name)
        if not after and all(value is None for value in grid.values()):
            continue
        cells = ["" if value is None else f"{100 * value:.1f}" for value in grid.values()]
        both = [after[seed] - plain[seed] for seed in sorted({*after} & {*plain})] if name != "sampled" else []
        compared = (str(len(after)), interval(list(after.values()), 1), interval(both, 1))
        lines.append(f"| {name} | " + " | ".join((*cells, *compared)) + " |")
    return lines


def finals(root: Path, name: str) -> dict[str, float]:
    """pass@1 in % by seed, of finished runs."""
    files = sorted((root / "final" / name).glob("seed*/summary.json"))
    return {f.parent.name: 100 * json.loads(f.read_text(encoding="utf-8"))["after"]["pass@1"] for f in files}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exact", type=Path)
    parser.add_argument("relatives", type=Path)
    options = parser.parse_args()
    known = json.loads((options.exact / "exact.json").read_text(encoding="utf-8"))
    text = (Path(__file__).parent / "objectives_notes.md").read_text(encoding="utf-8")
    tables = {
        "{exact}": exact_table(known),
        "{gradients}": embedded_table(options.relatives),
        "{accuracy}": accuracy_table(options.relatives),
    }
    for mark, lines in tables.items():
        text = text.replace(mark, "\n".join(lines))
    _PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
