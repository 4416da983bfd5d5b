from __future__ import annotations

import pytest
import torch

from opdkit.data.scores import Scores
from opdkit.errors import RunError
from opdkit.training.finite import first_not_finite, require_finite

COUNTED = torch.tensor([[True, True, False], [True, True, True]])


def _scores(**places: tuple[int, ...]) -> Scores:
    fields = {"sampled_log_prob": torch.zeros(2, 3), "support_logits": torch.zeros(2, 3, 4)}
    for name, place in places.items():
        fields[name][place] = torch.nan
    return Scores(**fields, support_ids=torch.zeros(2, 3, 4, dtype=torch.int64))


def test_finite_scores_have_no_place():
    assert first_not_finite(_scores(), COUNTED) is None


def test_the_first_counted_place_of_any_field_is_told():
    assert first_not_finite(_scores(sampled_log_prob=(1, 2)), COUNTED) == (1, 2)
    assert first_not_finite(_scores(support_logits=(1, 0, 3)), COUNTED) == (1, 0)


def test_what_does_not_count_is_not_looked_at():
    assert first_not_finite(_scores(sampled_log_prob=(0, 2)), COUNTED) is None


def test_model_step_and_position_are_named():
    with pytest.raises(RunError, match=r"step 5: the teacher's logits are not finite at rollout 1, response token 0"):
        require_finite(_scores(support_logits=(1, 0, 3)), COUNTED, "the teacher's", 4, range(4))
