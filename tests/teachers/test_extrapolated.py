"""A teacher taken beyond itself: both models' logits, mixed, against log-softmax by hand, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import HFRollout
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.samplers import Ancestral
from opdkit.teachers import Capabilities, ExtrapolatedTeacher, OpenLocalTeacher, OpenTeacher, TeacherContext
from tests.tiny import rendered, tiny_model, tiny_problems, written


@dataclass(frozen=True)
class Held:
    """A teacher that is in memory already."""

    model: LanguageModel
    vocabulary: bool = True

    @property
    def path(self) -> str:
        return self.model.name

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(vocabulary=self.vocabulary)

    def open(self, context: TeacherContext) -> OpenTeacher:
        return OpenLocalTeacher(self.model, context.temperature, context.batch)


MODELS = [tiny_model(seed, torch.float64) for seed in (0, 1, 2)]
STUDENT, TEACHER, REFERENCE = MODELS
TEMPERATURE = 0.7


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    return written(HFRollout(8, 64), STUDENT, rendered(STUDENT, tiny_problems(3)), Ancestral(), 1.0, [1, 2, 3])


def opened(strength: float, inner: LanguageModel = TEACHER, reference: LanguageModel = REFERENCE) -> OpenTeacher:
    spec = ExtrapolatedTeacher(Held(inner), Held(reference), strength)
    return spec.open(TeacherContext("cpu", STUDENT, TEMPERATURE, MicroBatch(2)))


def by_hand(rollout: Rollout, strength: float) -> Tensor:
    """log q' of the whole vocabulary, f64[B, T, V]."""

    def logits(model: LanguageModel) -> Tensor:
        wide = torch.arange(model.vocabulary).expand(*rollout.tokens.shape, -1).contiguous()
        asked = Request(support_ids=wide)
        with torch.no_grad():
            found = Scorer(model)(rollout, rollout.sampled_mask, asked, TEMPERATURE).support_logits
        assert found is not None
        return found

    return (strength * logits(TEACHER) + (1 - strength) * logits(REFERENCE)).log_softmax(-1)


def test_scores_are_those_of_the_mixed_logits(rollout: Rollout) -> None:
    mask = rollout.sampled_mask
    found = opened(1.5).score(rollout, mask, Request(sampled=True, top_k=4, normaliser=True))
    expected = by_hand(rollout, 1.5)
    sampled = expected.gather(-1, rollout.tokens.clamp(max=expected.shape[-1] - 1)[..., None])[..., 0]
    assert found.sampled_log_prob is not None
    assert found.support_logits is not None
    assert found.support_ids is not None
    assert found.logsumexp is not None
    torch.testing.assert_close(found.sampled_log_prob[mask], sampled[mask], rtol=1e-5, atol=1e-5)
    best = expected.topk(4, -1)
    assert torch.equal(found.support_ids[mask], best.indices[mask])
    inside = (found.support_logits - found.logsumexp[..., None])[mask]
    torch.testing.assert_close(inside, best.values[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("asked", [Request(sampled=True), Request(top_k=4), Request(vocabulary=True)], ids=str)
def test_strength_one_is_the_teacher_bit_for_bit(rollout: Rollout, asked: Request) -> None:
    plain = OpenLocalTeacher(TEACHER, TEMPERATURE, MicroBatch(2)).score(rollout, rollout.sampled_mask, asked)
    found = opened(1.0).score(rollout, rollout.sampled_mask, asked)
    for name in ("sampled_log_prob", "support_logits", "hidden"):
        ours, theirs = getattr(found, name), getattr(plain, name)
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


def test_a_reference_that_is_the_teacher_changes_nothing_and_strength_zero_is_the_reference(rollout: Rollout) -> None:
    mask, asked = rollout.sampled_mask, Request(sampled=True)

    def log_prob(teacher: OpenTeacher) -> Any:
        return teacher.score(rollout, mask, asked).sampled_log_prob

    own, reference = (log_prob(OpenLocalTeacher(m, TEMPERATURE, MicroBatch(2))) for m in (TEACHER, REFERENCE))
    torch.testing.assert_close(log_prob(opened(3.0, TEACHER, TEACHER)), own, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_prob(opened(0.0)), reference, rtol=1e-5, atol=1e-5)


def test_refuses_what_it_cannot_mix() -> None:
    with pytest.raises(UserError, match=r"teacher\.strength=-1\.0: must be at least 0"):
        ExtrapolatedTeacher(Held(TEACHER), Held(REFERENCE), -1.0)
    with pytest.raises(UserError, match=r"teacher\.reference=tiny-2 can't give"):
        ExtrapolatedTeacher(Held(TEACHER), Held(REFERENCE, vocabulary=False)).open(
            TeacherContext("cpu", STUDENT, 1.0, MicroBatch(2))
        )
