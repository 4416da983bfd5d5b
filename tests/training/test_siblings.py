"""Which sibling a row is shown: the first right one of its group that is not itself."""

from __future__ import annotations

import torch

from opdkit.data.grade import Grade
from opdkit.generation import HFRollout
from opdkit.rewards import Group
from opdkit.samplers import Ancestral
from opdkit.training.siblings import with_siblings
from opdkit.training.sources import RolloutBatch
from tests.tiny import rendered, tiny_model, tiny_problems, written


def test_the_first_right_one_that_is_not_ones_own() -> None:
    model = tiny_model(0)
    problems = [problem for problem in tiny_problems(3) for _ in range(3)]
    rollout = written(HFRollout(4, 64), model, rendered(model, problems), Ancestral(), 1.0, list(range(9)))
    responses = tuple(f"r{row}" for row in range(9))
    group = torch.arange(9) // 3
    groups = tuple(Group(problems[3 * g], responses[3 * g : 3 * g + 3]) for g in range(3))
    batch = RolloutBatch(rollout, responses, groups, group, (1,) * 9, {})
    right = [False, True, True, False, True, False, False, False, False]
    grades = [Grade.of(one) for one in right]
    grades[8] = Grade(1.0, True, counts=False)  # a failed reward says nothing
    told = with_siblings(rollout, batch, grades)
    found = [problem.context.get("sibling") for problem in told.prompts.problems]
    assert found == ["r1", "r2", "r1", "r4", None, "r4", None, None, None]
    assert torch.equal(told.prompts.ids, rollout.prompts.ids)
    assert all("sibling" not in problem.context for problem in rollout.prompts.problems)
