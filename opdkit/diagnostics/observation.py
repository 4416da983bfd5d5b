"""The inputs and outputs of a step's diagnostics."""

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
    """Data that a step has computed anyway before its first update; nothing here costs a forward pass.

    All arrays are NumPy arrays on the host. Log-probs are in nats, at the run's temperature.

    Attributes:
        rollout: B rows.
        scored: bool[B, T], tokens scored by the teacher (those in the loss).
        student_log_prob: f64[B, T], log-prob of the sampled tokens under the student that sampled them, before the
            sampler's filter.
        teacher_log_prob: f64[B, T], the teacher's, zeros where not scored.
        teacher_entropy: f64[B, T], likewise. None if not computed.
        stop_ids: the ids that end a response.
        texts: token ids -> one text per token.
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
    """The result of a diagnostic. scalars: name -> value, logged as `failure/<name>`; tables: for diagnostics.jsonl and
    W&B."""

    scalars: Mapping[str, float] = field(default_factory=dict[str, float])
    tables: tuple[Table, ...] = ()


class Diagnostic(Protocol):
    """A diagnostic of one failure mode. Its docstring states its cost, with N the step's number of scored tokens."""

    def __call__(self, seen: Observation) -> Finding: ...


def mean(values: NDArray[Any]) -> float:
    """The mean; nan for an empty array."""
    return float(values.mean()) if values.size else float("nan")


def cell(value: float) -> float:
    """A number rounded to six significant digits for tables, to keep files small."""
    return float(f"{value:.6g}")
