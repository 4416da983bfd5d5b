"""Locates non-finite scores by model, step and token."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from opdkit.data.scores import Scores
from opdkit.errors import RunError


def first_not_finite(scores: Scores, loss_mask: Tensor) -> tuple[int, int] | None:
    """Row and position of the first unmasked token with a non-finite score, None if all are finite.

    loss_mask bool[B, T]. Integer fields are skipped.
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
    """A one-line description of the location. `step` counts from 0; the text counts from 1, as the metrics do."""
    return f"step {step + 1}: {whose} logits are not finite at rollout {found[0]}, response token {found[1]}"


def require_finite(scores: Scores, loss_mask: Tensor, whose: str, step: int, rows: Sequence[int]) -> None:
    """Raises RunError that names model, step and position, for a teacher, whose error would recur on retry.

    rows: the index of each row within the step.
    """
    found = first_not_finite(scores, loss_mask)
    if found is not None:
        raise RunError(place_of((rows[found[0]], found[1]), whose, step))
