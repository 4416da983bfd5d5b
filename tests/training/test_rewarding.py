"""What a reward must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.generation import Completion, Turn, pack
from opdkit.rewards import Group
from opdkit.training.rewarding import rewarded
from opdkit.training.sources import RolloutBatch
from tests.tiny import tiny_model
from tests.training.episodes import PROBLEMS, Rewards


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[0.5, 0.5]], "gives a float where a Grade belongs"),
        ([[Grade.of(True)]], r"gives \[1\] grades for groups of \[2\]"),
    ],
)
def test_a_reward_that_gives_something_else_is_told_in_one_line(given: list[list[Any]], message: str) -> None:
    class Wrong(Rewards):
        def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
            return given

    rollout = pack(tiny_model(0), [(Turn((1,), Completion((5,), None, None, "stop")),)] * 2, PROBLEMS)
    batch = RolloutBatch(rollout, ("", ""), (Group(PROBLEMS[0], ("", "")),), torch.zeros(2).long(), (1, 1), {})
    with pytest.raises(UserError, match=message):
        rewarded(batch, Wrong(), 0)
