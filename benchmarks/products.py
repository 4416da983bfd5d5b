"""Matrix-multiply speed of this machine: one large product, and the bare products of an update."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.meter import Effort, Meter, run_steps
from benchmarks.roofline import linear_layers
from benchmarks.shapes import ProductShape, UpdateShape
from opdkit import device

# The fastest of many products is the attainable rate, so each step is repeated.
_PRODUCTS = 10
# Ids of the teacher's lm_head per product, as in a streamed head.
_TILE = 2048


def large_product(shape: ProductShape, effort: Effort) -> Meter:
    """Products of two square matrices, each timed separately, ten per requested step."""
    left, right, out = (torch.randn(shape.size, shape.size, device=device.kind()) for _ in range(3))
    meter = Meter(list, Effort(_PRODUCTS * effort.timed, effort.patience_s))

    def step() -> None:
        torch.mm(left, right, out=out)

    run_steps(meter, step)
    return meter


def update_products(shape: UpdateShape, effort: Effort) -> Meter:
    """The products of every linear layer (the teacher's forward, the student's forward and backward) and of the
    teacher's lm_head, into preallocated buffers."""
    tokens, scored = shape.batch * (shape.prompt + shape.response), shape.batch * shape.response
    layers = linear_layers(shape) * shape.layers
    weights = [torch.randn(outputs, inputs, device=device.kind()) for outputs, inputs in layers]
    head = torch.randn(shape.vocabulary, shape.width, device=device.kind())
    widest = max(max(layer) for layer in layers)
    given, answer = (torch.randn(tokens, widest, device=device.kind()).flatten() for _ in range(2))
    gradient = torch.empty(max(weight.numel() for weight in weights), device=device.kind())

    def step() -> None:
        for weight in weights:
            outputs, inputs = weight.shape
            into, out = _matrix(given, tokens, inputs), _matrix(answer, tokens, outputs)
            for _ in range(2):  # both models' forward
                torch.mm(into, weight.t(), out=out)
            back, spread = _matrix(given, tokens, outputs), _matrix(answer, tokens, inputs)
            torch.mm(back, weight, out=spread)
            torch.mm(back.t(), spread, out=_matrix(gradient, outputs, inputs))
        for tile in head.split(_TILE):
            torch.mm(_matrix(given, scored, shape.width), tile.t())

    meter = Meter(list, effort)
    run_steps(meter, step)
    return meter


def _matrix(buffer: Tensor, rows: int, columns: int) -> Tensor:
    """The first rows x columns elements of a flat buffer."""
    return buffer[: rows * columns].view(rows, columns)
