"""Counted multiply-adds, and the share of the bound."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import Case, Entry
from benchmarks.models import batch_of, student_and_teacher
from benchmarks.roofline import linear_layers, lines, multiply_adds, summary
from benchmarks.shapes import ProductShape, UpdateShape

SHAPE = UpdateShape(
    vocabulary=50, width=8, layers=2, heads=4, key_value_heads=2, intermediate=12, batch=2, prompt=3, response=5, k=4,
    architecture="llama",
)  # fmt: skip
CASE = Case(
    "roofline", "Roofline", "roofline",
    (Entry("product", ProductShape(10)),
     *(Entry(name, SHAPE) for name in ("opdkit_update", "update_products", "body_update"))),
    "product",
)  # fmt: skip


def test_linear_layers_are_those_of_the_model():
    student, _ = student_and_teacher(SHAPE)
    layer = [module for module in student.model.layers[0].modules() if isinstance(module, torch.nn.Linear)]
    assert sorted(linear_layers(SHAPE)) == sorted((module.out_features, module.in_features) for module in layer)


def test_multiply_adds_of_the_layers_are_what_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    student, teacher = student_and_teacher(SHAPE)
    batch = batch_of(SHAPE)
    ids = torch.cat([batch.prompt, batch.response], 1)
    with FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            teacher.model(input_ids=ids, use_cache=False)
        student.model(input_ids=ids, use_cache=False).last_hidden_state.sum().backward()
    flops_of_products = sum(
        flops for op, flops in counter.get_flop_counts()["Global"].items() if str(op).split(".")[-1] in ("mm", "addmm")
    )
    assert multiply_adds(SHAPE)["layers"] == flops_of_products // 2


def test_heads_and_attention_are_counted_by_hand():
    parts = multiply_adds(SHAPE)
    assert parts["teacher_head"] == 2 * 5 * 50 * 8
    assert parts["student_head"] == 3 * 2 * 5 * 4 * 8
    # Each of 8 tokens with itself and those before it, two products of width 8, two layers, 1 + 3 times.
    assert parts["attention"] == 4 * 2 * 2 * (2 * 36) * 8


def found(product, update):
    def repeats(seconds):
        answer = {"seconds": seconds, "cpu_seconds": seconds, "losses": [], "extra_mib": 1.0, "gradient_mib": 1.0}
        return {"repeats": [answer]}

    others = {entry.name: repeats([1.0]) for entry in CASE.entries[2:]}
    return {"product": repeats(product), CASE.entries[1].name: repeats(update), **others}


def test_the_fraction_is_the_bound_over_the_time():
    total = sum(multiply_adds(SHAPE).values())
    numbers = summary(CASE, found([1e-6, 2e-6], [2 * total / 1e9]))
    assert numbers["rate"] == pytest.approx(1e9)
    assert numbers["bound_s"] == pytest.approx(total / 1e9)
    assert numbers["fraction"] == pytest.approx(0.5)
    assert "Measured: 50% by minima, 50% by medians (not reached)" in lines(CASE, numbers)[-1]


def test_an_update_that_failed_is_told():
    answers = found([1e-6], [1.0]) | {CASE.entries[1].name: {"repeats": [], "error": "out of memory"}}
    assert lines(CASE, summary(CASE, answers)) == ["Not measured (opdkit_update: out of memory)."]
