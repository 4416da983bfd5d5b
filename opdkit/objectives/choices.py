"""Names the options of the algebra, as a user types them."""

from __future__ import annotations

from typing import Literal

Support = Literal["sampled", "teacher", "student", "union", "intersection", "full"]
Estimator = Literal["exact", "score", "k1", "k2", "k3"]
RewardForm = Literal["raw", "group", "group_scaled"]
"""raw: R. group: R minus the mean of its group, the rollouts of one prompt. group_scaled: that over the deviation."""
