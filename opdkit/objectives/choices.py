"""The option values of the objective algebra, as written in a config."""

from __future__ import annotations

from typing import Literal

Support = Literal["sampled", "teacher", "student", "union", "intersection", "full"]
Estimator = Literal["exact", "score", "k1", "k2", "k3"]
RewardForm = Literal["raw", "group", "group_scaled"]
"""raw: R. group: R minus the mean over the rollouts of its prompt. group_scaled: also divided by their std."""
