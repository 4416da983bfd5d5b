"""Scoring by reasoning-gym's own scorers. Some evaluate the answer, so only the grading worker imports this."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from reasoning_gym.factory import create_dataset

FULL_MARKS = 0.99


@lru_cache(maxsize=64)
def _dataset(name: str, parameters: str, seed: int, size: int) -> Any:
    return create_dataset(name, seed=seed, size=size, **json.loads(parameters))


def decision(request: dict[str, Any]) -> Callable[[], bool]:
    """A function that decides whether the dataset's scorer gives full marks to the request's answer.

    The question is generated here, the answer scored in the call. Scorers give partial credit to a wrong answer of the
    right shape, so anything below full marks is wrong.
    """
    parameters = json.dumps(request["parameters"], sort_keys=True)
    dataset = _dataset(request["dataset"], parameters, request["seed"], request["size"])
    entry = dataset[request["index"]]
    return lambda: float(dataset.score_answer(answer=request["answer"], entry=entry)) >= FULL_MARKS
