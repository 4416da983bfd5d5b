"""Several teachers: all in memory, or one at a time."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.generation import HFRollout
from opdkit.models import Request
from opdkit.samplers import Ancestral
from opdkit.teachers import LocalTeacher, OpenTeacher, TeacherContext, open_teachers
from tests.tiny import rendered, tiny_model, tiny_problems, written


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


def held(specs: dict[str, LocalTeacher], offload: bool) -> dict[str, OpenTeacher]:
    return open_teachers(specs, TeacherContext("cpu", tiny_model(0), 1.0, MicroBatch(2)), offload=offload)


def rollout() -> Rollout:
    model = tiny_model(0)
    return written(HFRollout(8, 64), model, rendered(model, tiny_problems(2)), Ancestral(), 1.0, [1, 2])


def test_swapped_teachers_say_what_kept_ones_say(specs: dict[str, LocalTeacher]) -> None:
    batch = rollout()
    kept, swapped = held(specs, False), held(specs, True)
    said: dict[str, torch.Tensor] = {}
    for name in ("a", "b", "a", "c"):
        ours, theirs = (
            teachers[name].restricted(258).score(batch, batch.sampled_mask, Request(sampled=True)).sampled_log_prob
            for teachers in (kept, swapped)
        )
        assert ours is not None
        assert theirs is not None
        assert torch.equal(ours, theirs)
        said[name] = ours
    assert not torch.equal(said["a"], said["b"])


def test_only_one_is_in_memory_and_teachers_that_are_alike_are_one(specs: dict[str, LocalTeacher]) -> None:
    swapped = held(specs, True)
    engine = swapped["a"].writer(HFRollout(8, 64))
    assert engine is not None
    first = weakref.ref(engine[1].module)
    del engine
    assert swapped["c"] is swapped["a"]
    assert first() is not None
    assert swapped["a"].bytes() > 0
    assert swapped["b"].vocabulary > 0
    assert swapped["a"].bytes() == 0
    gc.collect()
    assert first() is None
    kept = held(specs, False)
    assert kept["c"] is kept["a"]
    assert kept["b"] is not kept["a"]
