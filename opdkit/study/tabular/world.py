"""Defines a world small enough to enumerate: two tables of logits, and all responses."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from opdkit.seeding import derive_seed

Sharing = Literal["shared", "per_context"]


@dataclass(frozen=True)
class World:
    """Softmax policies over V tokens. student, teacher f64[rows, V], the logits; the student's are its parameters.

    shared: one row for the start and one for each last token (V + 1 rows), the same at every step.
    per_context: one row for each prefix, (V^T - 1) / (V - 1) of them.
    """

    student: Tensor
    teacher: Tensor
    sharing: Sharing

    @property
    def vocabulary(self) -> int:
        return self.student.shape[1]


@dataclass(frozen=True)
class Responses:
    """All V^T responses: tokens i64[V^T, T], and rows i64[V^T, T], the table row each is drawn from."""

    tokens: Tensor
    rows: Tensor


def rows_needed(vocabulary: int, horizon: int, sharing: Sharing) -> int:
    """The number of rows of a table."""
    if sharing == "shared":
        return vocabulary + 1
    return sum(vocabulary**depth for depth in range(horizon))


def draw(seed: int, vocabulary: int, rows: int, sharing: Sharing, distance: float) -> World:
    """Student logits from N(0, 1); the teacher's are the student's plus `distance` times N(0, 1)."""
    source = torch.Generator().manual_seed(derive_seed(seed, "tabular", sharing))
    student = torch.randn(rows, vocabulary, generator=source, dtype=torch.float64)
    shift = torch.randn(rows, vocabulary, generator=source, dtype=torch.float64)
    return World(student, student + distance * shift, sharing)


def responses(vocabulary: int, horizon: int, sharing: Sharing) -> Responses:
    """Every response of `horizon` tokens, in lexical order."""
    tokens = torch.tensor(list(itertools.product(range(vocabulary), repeat=horizon)))
    first = torch.zeros_like(tokens[:, :1])
    if sharing == "shared":
        return Responses(tokens, torch.cat([first, 1 + tokens[:, :-1]], 1))
    rows = [first[:, 0]]
    for step in range(horizon - 1):  # the children of node n of a V-ary tree are V n + 1 ... V n + V
        rows.append(vocabulary * rows[-1] + 1 + tokens[:, step])
    return Responses(tokens, torch.stack(rows, 1))


def log_prob(logits: Tensor, every: Responses) -> Tensor:
    """log p(y_t | y_<t) of every response under a table of logits, f64[V^T, T], differentiable."""
    return logits.log_softmax(1)[every.rows].gather(2, every.tokens[..., None]).squeeze(2)


def sequence_kl(student: Tensor, teacher: Tensor, every: Responses) -> Tensor:
    """KL(pi || q) over whole responses, nats, by its definition; differentiable in `student`."""
    ours, theirs = log_prob(student, every).sum(1), log_prob(teacher, every).sum(1)
    return (ours.exp() * (ours - theirs)).sum()


def finite_difference(world: World, every: Responses, step: float = 1e-5) -> Tensor:
    """The gradient of the sequence KL by central differences, f64[rows, V]; error of order step^2."""
    gradient = torch.zeros_like(world.student)
    for entry in itertools.product(*(range(size) for size in world.student.shape)):
        for sign in (1.0, -1.0):
            moved = world.student.clone()
            moved[entry] += sign * step
            gradient[entry] += sign * sequence_kl(moved, world.teacher, every) / (2.0 * step)
    return gradient
