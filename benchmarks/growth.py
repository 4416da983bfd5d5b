"""How memory and time of an update grow with response length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cases import Case
from benchmarks.comparison import summarise
from benchmarks.shapes import UpdateShape

MIB = 1024.0 * 1024.0
# A term in T x V would be at least one float32 per position and id; below this fraction it counts as absent.
_NONE = 0.1


def slope(lengths: Sequence[float], values: Sequence[float]) -> float:
    """The slope of the least-squares line of values on lengths; at least two lengths."""
    mean_length, mean = sum(lengths) / len(lengths), sum(values) / len(values)
    above = sum((t - mean_length) * (v - mean) for t, v in zip(lengths, values, strict=True))
    return above / sum((t - mean_length) ** 2 for t in lengths)


def exponent(lengths: Sequence[float], values: Sequence[float]) -> float | None:
    """b in values ~ lengths^b, by least squares in logarithms; None if a value is not positive."""
    if min(values) <= 0:
        return None
    return slope([math.log(t) for t in lengths], [math.log(v) for v in values])


def summary(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """rows: contestant -> length -> numbers; fits: contestant -> slope of its memory in bytes per token and
    exponents of memory and time; head: opdkit's update minus the transformers alone."""
    rows: dict[str, dict[int, Any]] = {}
    vocabulary = 0
    for entry in case.entries:
        assert isinstance(entry.shape, UpdateShape)
        vocabulary = entry.shape.vocabulary
        answers = found[entry.name]
        if answers["repeats"]:
            rows.setdefault(entry.contestant, {})[entry.shape.response] = summarise(answers["repeats"])
    answer: dict[str, Any] = {"rows": rows, "one_row_bytes": 4 * vocabulary, "fits": {}}
    for name, points in rows.items():
        if len(points) > 1:
            answer["fits"][name] = _fit(points)
    ours, body = rows.get("opdkit_update", {}), rows.get("body_update", {})
    both = [length for length in ours if length in body]
    if len(both) > 1:
        extra = [ours[length]["extra_mib"] - body[length]["extra_mib"] for length in both]
        answer["head"] = {"mib": dict(zip(both, extra, strict=True)), "bytes_a_token": slope(both, extra) * MIB}
    return answer


def _fit(points: Mapping[int, Any]) -> dict[str, float | None]:
    lengths = list(points)
    memory = [points[length]["extra_mib"] for length in lengths]
    return {
        "bytes_a_token": slope(lengths, memory) * MIB,
        "memory_exponent": exponent(lengths, memory),
        "time_exponent": exponent(lengths, [points[length]["min_s"] for length in lengths]),
    }


def lines(case: Case, summarised: Mapping[str, Any]) -> list[str]:
    """The section in markdown."""
    rows, fits = summarised["rows"], summarised["fits"]
    ours, body, full = (rows.get(name, {}) for name in ("opdkit_update", "body_update", "logits_update"))
    told = [
        f"{case.shape.describe()} and longer. Extra memory and the fastest step of the update phase, of the two "
        "transformers alone (lm_head left out, backward from the last hidden states), and of top K out of full logits.",
        "",
        "| T | opdkit MiB | transformers MiB | difference | full logits MiB | opdkit s | transformers s | full s |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    head = summarised.get("head", {}).get("mib", {})
    for length in sorted({*ours, *body, *full}):
        memory = [_cell(points.get(length), "extra_mib", ".0f") for points in (ours, body, full)]
        memory.insert(2, f"{head[length]:.0f}" if length in head else "")
        seconds = [_cell(points.get(length), "min_s", ".3f") for points in (ours, body, full)]
        told.append(f"| {length} | " + " | ".join(memory + seconds) + " |")
    told += ["", *(_fit_line(title, fits[name]) for name, title in _TITLES.items() if name in fits)]
    return told + _conclusion(summarised)


_TITLES = {
    "opdkit_update": "opdkit's update",
    "body_update": "the transformers alone",
    "logits_update": "full logits",
}


def _fit_line(title: str, fit: Mapping[str, Any]) -> str:
    exponents = [
        f"{what} ~ T^{fit[key]:.2f}"
        for what, key in (("memory", "memory_exponent"), ("time", "time_exponent"))
        if fit[key] is not None
    ]
    return f"- {title}: {fit['bytes_a_token'] / 1000:.1f} kB of extra memory per token (line), {', '.join(exponents)}."


def _conclusion(summarised: Mapping[str, Any]) -> list[str]:
    if "head" not in summarised:
        return ["- Whether there is a term in T x V: not measured."]
    grows, row = summarised["head"]["bytes_a_token"], summarised["one_row_bytes"]
    verdict = "there is none" if grows < _NONE * row else "THERE IS ONE"
    told = [
        f"- A term in T x V would be at least one float32 for each id, {row / 1000:.1f} kB per token. What opdkit's "
        f"update needs beyond the transformers grows by {grows / 1000:.1f} kB per token, {grows / row:.1%} of that: "
        f"{verdict}."
    ]
    full = summarised["fits"].get("logits_update")
    if full is not None:
        rows = full["bytes_a_token"] / row
        told.append(f"- Such a term would show: full logits grow by {rows:.1f} rows of the vocabulary per token.")
    return told


def _cell(numbers: Mapping[str, float] | None, key: str, form: str) -> str:
    return "" if numbers is None else format(numbers[key], form)
