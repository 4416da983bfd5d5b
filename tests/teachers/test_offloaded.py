"""Several teachers: all in memory, or one at a time."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from opdkit.data.rollout import Rollout
from opdkit.generation import HFRollout
from opdkit.models import Request
from opdkit.teachers import LocalTeacher, hold_teachers
from tests.tiny import rendered, tiny_model, tiny_problems


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LocalTeacher]:
    folder = tmp_path_factory.mktemp("teachers")
    for seed in (1, 2):
        model = tiny_model(seed)
        model.module.save_pretrained(folder / str(seed))
        model.tokenizer.save_pretrained(folder / str(seed))
    return {"a": _spec(folder / "1"), "b": _spec(folder / "2"), "c": _spec(folder / "1")}


def _spec(path: Path) -> LocalTeacher:
    return LocalTeacher(str(path))


def rollout() -> Rollout:
    model = tiny_model(0)
    return HFRollout(8, 64).generate(
        model, rendered(model, tiny_problems(2)), lambda x: torch.ones_like(x, dtype=torch.bool), 1.0, [1, 2]
    )


def test_swapped_teachers_say_what_kept_ones_say(specs: dict[str, LocalTeacher]) -> None:
    written = rollout()
    kept, swapped = hold_teachers(specs, "cpu", swap=False), hold_teachers(specs, "cpu", swap=True)
    said: dict[str, torch.Tensor] = {}
    for name in ("a", "b", "a", "c"):
        ours, theirs = (
            held[name]
            .restricted(258)
            .score(written, written.sampled_mask, Request(sampled=True), 1.0, 2)
            .sampled_log_prob
            for held in (kept, swapped)
        )
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours, theirs)
        said[name] = ours
    assert not torch.equal(said["a"], said["b"])


def test_only_one_is_in_memory_and_teachers_that_are_alike_are_one(specs: dict[str, LocalTeacher]) -> None:
    swapped = hold_teachers(specs, "cpu", swap=True)
    first = weakref.ref(swapped["a"].model.module)
    assert swapped["c"] is swapped["a"]
    assert first() is not None
    _ = swapped["b"].model
    gc.collect()
    assert first() is None
    kept = hold_teachers(specs, "cpu", swap=False)
    assert kept["c"] is kept["a"]
    assert kept["b"] is not kept["a"]
