"""Defines what diagnostics of a step receive and return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from opdkit.data.rollout import Rollout
from opdkit.data.table import Table

Floats = NDArray[np.float64]
Texts = Callable[[Sequence[int]], list[str]]


@dataclass(frozen=True)
class Observation:
    """What a step computed in any case, before its first update. Nothing here costs a forward pass.

    scored bool[B, T]: tokens of which the teacher was asked (those that count in the loss);
    student_log_prob f32[B, T]: of the sampled tokens, by the student that wrote them, before the sampler's filter;
    teacher_log_prob, teacher_entropy f32[B, T]: of the same positions, zeros where not scored;
    stop_ids: what ends a response; texts: token ids -> one text a token. Log-probs in nats, at the run's temperature.
    All arrays are NumPy's, on the host.
    """

    rollout: Rollout
    scored: NDArray[np.bool_]
    student_log_prob: Floats
    teacher_log_prob: Floats
    teacher_entropy: Floats | None
    stop_ids: frozenset[int]
    texts: Texts

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """i64[B, T], the sampled ids."""
        return self.rollout.tokens.cpu().numpy()

    @cached_property
    def written(self) -> NDArray[np.bool_]:
        """bool[B, T], True on sampled tokens."""
        return self.rollout.sampled_mask.cpu().numpy()

    @cached_property
    def gap(self) -> Floats:
        """f64[B, T], log q - log pi of the sampled token, which is the advantage A_t; zero where not scored."""
        return np.where(self.scored, self.teacher_log_prob - self.student_log_prob, 0.0)


@dataclass(frozen=True)
class Finding:
    """scalars: name -> value, logged as `failure/<name>`; tables: for diagnostics.jsonl and W&B."""

    scalars: Mapping[str, float] = field(default_factory=dict[str, float])
    tables: tuple[Table, ...] = ()


class Diagnostic(Protocol):
    """A look at one failure mode. Each says in its docstring what it costs, with N the scored tokens of the step."""

    def __call__(self, seen: Observation) -> Finding: ...


def mean(values: NDArray[Any]) -> float:
    """The mean, not-a-number of nothing."""
    return float(values.mean()) if values.size else float("nan")


def cell(value: float) -> float:
    """A number as a table keeps it: six significant digits, so that files stay small."""
    return float(f"{value:.6g}")
