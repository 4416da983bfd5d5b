"""Locates scores that are not finite: which model, which step, which token."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from opdkit.data.scores import Scores
from opdkit.errors import RunError


def first_not_finite(scores: Scores, loss_mask: Tensor) -> tuple[int, int] | None:
    """Row and position of the first counted token with a score that is not finite, None where all are.

    loss_mask bool[B, T]. Ids are whole numbers and are passed over.
    """
    for name in Scores.tensors():
        values: Tensor | None = getattr(scores, name)
        if values is None or not values.is_floating_point():
            continue
        finite = values.detach().isfinite()
        bad = ~(finite if finite.dim() == 2 else finite.all(-1)) & loss_mask
        if bool(bad.any()):
            row, position = bad.nonzero()[0].tolist()
            return row, position
    return None


def place_of(found: tuple[int, int], whose: str, step: int) -> str:
    """One line that says where. `step` counts from 0, as the loop does; it is told from 1, as the metrics do."""
    return f"step {step + 1}: {whose} logits are not finite at rollout {found[0]}, response token {found[1]}"


def require_finite(scores: Scores, loss_mask: Tensor, whose: str, step: int, rows: Sequence[int]) -> None:
    """Raises RunError that names model, step and position: a teacher that breaks will break again.

    rows: the number of each row among the step's.
    """
    found = first_not_finite(scores, loss_mask)
    if found is not None:
        raise RunError(place_of((rows[found[0]], found[1]), whose, step))
