"""A small observation whose numbers can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from opdkit.data.rollout import Prompts, Rollout
from opdkit.diagnostics import Observation

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def observed(
    rows: Sequence[Sequence[int]],
    student: Sequence[Sequence[float]],
    teacher: Sequence[Sequence[float]],
    stopped: Sequence[bool] | None = None,
    **changes: Any,
) -> Observation:
    """rows: token ids; student, teacher: probabilities of them. The text of id i is LETTERS[i]; id 25 stops."""
    count, width = len(rows), max(map(len, rows))

    def padded(values: Sequence[Sequence[float]], fill: float) -> np.ndarray[Any, Any]:
        return np.array([[*row, *[fill] * (width - len(row))] for row in values], dtype=np.float64)

    mask = torch.tensor(padded([[1] * len(row) for row in rows], 0)).bool()
    tokens = torch.tensor(padded(rows, 0)).long()
    prompts = Prompts(tokens[:, :1], mask[:, :1], ())
    reasons = tuple("stop" if done else "length" for done in stopped or [True] * count)
    log_pi, log_q = np.log(padded(student, 1.0)), np.log(padded(teacher, 1.0))
    entropy = torch.full(mask.shape, 0.5)
    rollout = Rollout(prompts, tokens, mask, torch.tensor(log_pi).float(), entropy, reasons)
    values = {
        "scored": mask.numpy(),
        "teacher_entropy": np.full(mask.shape, 0.25),
        "stop_ids": frozenset({25}),
        "texts": lambda ids: [LETTERS[i] for i in ids],
    }
    return Observation(rollout, student_log_prob=log_pi, teacher_log_prob=log_q, **(values | changes))
