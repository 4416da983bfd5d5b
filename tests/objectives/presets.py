"""The two objectives that most tests are about, as they are in conf/objective/."""

from __future__ import annotations

from opdkit.functional.surrogates import Clipped, Surrogate
from opdkit.objectives import TokenDivergence


def top_k(k: int = 32, support: str = "teacher", **choices: object) -> TokenDivergence:
    """objective=topk, topk_student, topk_union."""
    return TokenDivergence(k=k, support=support, **{"tail": "renormalise", **choices})  # type: ignore[arg-type]


def sampled_token(surrogate: Surrogate | None = None, **choices: object) -> TokenDivergence:
    """objective=sampled, or with another surrogate."""
    chosen = surrogate or Clipped(0.2, 3.0)
    return TokenDivergence(support="sampled", estimator="score", surrogate=chosen, **choices)  # type: ignore[arg-type]
