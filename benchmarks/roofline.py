"""The minimum time of an update's multiply-adds, and how close the update gets to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases import Case
from benchmarks.comparison import summarise
from benchmarks.shapes import ProductShape, UpdateShape

GOAL = 0.6
# Forward only, and forward with both gradients of every product.
_TEACHER, _STUDENT = 1, 3


def linear_layers(shape: UpdateShape) -> list[tuple[int, int]]:
    """(outputs, inputs) of one transformer layer's linear layers: q, k, v, o, gate, up, down."""
    narrow = shape.width // shape.heads * shape.key_value_heads
    wide, inside = shape.width, shape.intermediate
    return [(wide, wide), (narrow, wide), (narrow, wide), (wide, wide), (inside, wide), (inside, wide), (wide, inside)]


def multiply_adds(shape: UpdateShape) -> dict[str, int]:
    """Multiply-adds that an update phase requires, by part.

    layers: linear layers of every token; attention: products of each token with itself and earlier ones;
    teacher_head: the teacher's logits of every response token over the whole vocabulary, to find its top K;
    student_head: K rows of lm_head per response token. Recomputation is not counted.
    """
    length = shape.prompt + shape.response
    tokens, scored = shape.batch * length, shape.batch * shape.response
    weights = shape.layers * sum(outputs * inputs for outputs, inputs in linear_layers(shape))
    pairs = shape.batch * length * (length + 1) // 2
    attention = shape.layers * 2 * pairs * shape.width
    return {
        "layers": (_TEACHER + _STUDENT) * tokens * weights,
        "attention": (_TEACHER + _STUDENT) * attention,
        "teacher_head": scored * shape.vocabulary * shape.width,
        "student_head": _STUDENT * scored * shape.k * shape.width,
    }


def summary(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """rate: multiply-adds per second of the fastest large product; bound_s: total / rate; fraction: bound_s over the
    fastest update; fraction_median: the same from medians; rows: each entry's numbers."""
    product, update = case.entries[0], case.entries[1]
    assert isinstance(product.shape, ProductShape)
    assert isinstance(update.shape, UpdateShape)
    parts = multiply_adds(update.shape)
    answer: dict[str, Any] = {"multiply_adds": parts, "rows": {}}
    for entry in case.entries:
        answers = found[entry.name]
        row: dict[str, Any] = summarise(answers["repeats"]) if answers["repeats"] else {}
        answer["rows"][entry.contestant] = row | ({"error": answers["error"]} if "error" in answers else {})
    measured, fastest = answer["rows"]["product"], answer["rows"]["opdkit_update"]
    if "min_s" in measured and "min_s" in fastest:
        size, total = product.shape.size, sum(parts.values())
        answer["rate"] = size**3 / measured["min_s"]
        answer["bound_s"] = total / answer["rate"]
        answer["fraction"] = answer["bound_s"] / fastest["min_s"]
        answer["fraction_median"] = total * measured["median_s"] / size**3 / fastest["median_s"]
    return answer


def lines(case: Case, summarised: Mapping[str, Any]) -> list[str]:
    """The section in markdown."""
    rows, parts, product = summarised["rows"], summarised["multiply_adds"], case.entries[0].shape
    assert isinstance(product, ProductShape)
    if "fraction" not in summarised:
        reasons = [f"{name}: {row['error']}" for name, row in rows.items() if "error" in row]
        return [f"Not measured ({'; '.join(reasons)})."]
    total = sum(parts.values())
    shares = ", ".join(f"{name.replace('_', ' ')} {value / total:.1%}" for name, value in parts.items())
    told = [
        f"{case.entries[1].shape.describe()}.",
        "",
        f"- Fastest product of two {product.size} x {product.size} matrices: "
        f"{summarised['rate'] / 1e9:.1f} G multiply-adds per second.",
        f"- Multiply-adds of an update: {total / 1e9:.1f} G ({shares}).",
        "",
        "| | min s | median s | CPU s | share of the bound |",
        "|---|---:|---:|---:|---:|",
        f"| bound: these multiply-adds at that rate | {summarised['bound_s']:.3f} | | | 100% |",
    ]
    titles = {
        "update_products": "the same products alone, operands ready",
        "body_update": "the update without both heads",
        "opdkit_update": "opdkit's update phase",
    }
    for name, title in titles.items():
        row = rows[name]
        if "min_s" not in row:
            told.append(f"| {title} | {row.get('error', 'not measured')} | | | |")
            continue
        share = summarised["bound_s"] / row["min_s"]
        seconds = " | ".join(f"{row[key]:.3f}" for key in ("min_s", "median_s", "cpu_s"))
        told.append(f"| {title} | {seconds} | {share:.0%} |")
    reached = summarised["fraction"] >= GOAL
    told += [
        "",
        f"- Goal: at least {GOAL:.0%} of the bound. Measured: {summarised['fraction']:.0%} by minima, "
        f"{summarised['fraction_median']:.0%} by medians ({'reached' if reached else 'not reached'}).",
    ]
    return told
