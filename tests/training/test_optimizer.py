"""Learning-rate schedules and what the optimiser refuses."""

from __future__ import annotations

import pytest

from opdkit.errors import UserError
from opdkit.training.optimizer import AdamW


def test_warm_up_rises_to_the_peak_and_each_schedule_ends_where_it_says() -> None:
    spec = AdamW(lr=1.0, warmup_steps=4, schedule="linear", min_lr_ratio=0.1)
    assert [spec.lr_at(s, 104) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert spec.lr_at(54, 104) == pytest.approx(0.55)
    assert spec.lr_at(104, 104) == pytest.approx(0.1)
    cosine = AdamW(lr=1.0, schedule="cosine")
    assert cosine.lr_at(25, 100) == pytest.approx(0.8535534)
    assert cosine.lr_at(75, 100) == pytest.approx(0.1464466)
    assert {AdamW(lr=0.5).lr_at(s, 9) for s in range(9)} == {0.5}


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"schedule": "step"}, {"warmup_steps": -1}, {"min_lr_ratio": 2.0}, {"clip_norm": 0.0}]
)
def test_wrong_values_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        AdamW(**wrong)
