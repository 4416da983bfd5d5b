"""teacher=vllm against a stub of the server: what prompt_logprobs tells, and what it can't."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from opdkit.data.loss import ModelNeeds, Needs
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import HFRollout
from opdkit.models import Request
from opdkit.samplers import Ancestral
from opdkit.teachers import OpenLocalTeacher, OpenTeacher, TeacherContext, VLLMTeacher
from tests.serving.running import free_port, running
from tests.serving.stub import Stub, stubbed
from tests.tiny import rendered, tiny_model, tiny_problems, tiny_tokenizer, written

STUDENT = tiny_model(0, vocab_size=260)
TEACHER = tiny_model(1, vocab_size=260)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, Stub]]:
    with stubbed(TEACHER) as found:
        yield found


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    return written(HFRollout(9, 64), STUDENT, rendered(STUDENT, tiny_problems(5)), Ancestral(), 1.0, range(5))


def opened(server: str, temperature: float = 1.0, **changes: Any) -> OpenTeacher:
    settings = {"backoff": 0.02, "patience": 60.0}
    return VLLMTeacher(servers=[server], **(settings | changes)).open(
        TeacherContext("cpu", STUDENT, temperature, MicroBatch(2))
    )


@pytest.mark.parametrize(
    "request_",
    [Request(sampled=True), Request(top_k=6), Request(top_k=6, include_sampled=True), Request(normaliser=True)],
    ids=str,
)
def test_it_tells_what_the_teacher_in_process_does(
    request_: Request, served: tuple[str, Stub], rollout: Rollout
) -> None:
    mask = rollout.sampled_mask.clone()
    mask[2, :3] = False
    teacher = opened(served[0])
    teacher.check(STUDENT)
    ours = teacher.score(rollout, mask, request_)
    theirs = OpenLocalTeacher(TEACHER, 1.0, MicroBatch(2)).score(rollout, mask, request_)
    for name in ("sampled_log_prob", "support_ids"):
        if getattr(theirs, name) is not None:
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=2e-5, rtol=1e-5)
    if theirs.support_logits is not None:
        inside = mask[..., None] if theirs.support_mask is None else mask[..., None] & theirs.support_mask
        gap = (ours.support_logits - theirs.support_logits).masked_fill(~inside, 0.0)  # type: ignore[operator]
        first = gap[..., :1].expand_as(gap).masked_fill(~inside, 0.0)
        torch.testing.assert_close(gap, first, atol=5e-5, rtol=1e-5)  # up to a constant
    if request_.normaliser:
        assert ours.logsumexp is not None
        assert not ours.logsumexp.any()
    teacher.close()


def test_at_another_temperature_best_ids_are_right_up_to_a_constant_and_nothing_else_is_told(
    served: tuple[str, Stub], rollout: Rollout
) -> None:
    teacher = opened(served[0], 0.5)
    ours = teacher.score(rollout, rollout.sampled_mask, Request(top_k=6, stats_k=6))
    theirs = OpenLocalTeacher(TEACHER, 0.5, MicroBatch(2)).score(rollout, rollout.sampled_mask, Request(top_k=6))
    assert (ours.sampled_log_prob, ours.logsumexp, ours.entropy) == (None, None, None)
    assert ours.support_logits is not None
    assert theirs.support_logits is not None
    torch.testing.assert_close(
        ours.support_logits.log_softmax(-1), theirs.support_logits.log_softmax(-1), atol=5e-5, rtol=1e-5
    )
    teacher.close()


def test_ids_that_another_model_lacks_are_filler(served: tuple[str, Stub], rollout: Rollout) -> None:
    teacher = opened(served[0]).restricted(128)
    scores = teacher.score(rollout, rollout.sampled_mask, Request(top_k=40))
    assert scores.support_mask is not None
    counted = scores.support_mask[rollout.sampled_mask]
    assert bool(counted.any())
    assert not bool(counted.all())
    assert int(scores.support_ids[scores.support_mask].max()) < 128  # type: ignore[index]
    teacher.close()


def test_what_it_can_not_give_is_told_when_the_configuration_is_checked() -> None:
    teacher = VLLMTeacher(servers=["http://127.0.0.1:1"])
    capabilities, name = teacher.capabilities, teacher.path
    fine = [
        (Needs(teacher=ModelNeeds(sampled=True)), 1.0),
        (Needs(support="teacher", k=4), 0.6),
        (Needs(support="teacher", k=4, include_sampled=True), 0.6),
        (Needs(support="teacher", k=4, teacher=ModelNeeds(logsumexp=True)), 1.0),
    ]
    for needs, temperature in fine:
        capabilities.require(needs, name, temperature)
    refused = [
        (Needs(support="student", k=4), 1.0, "given_ids"),
        (Needs(support="union", k=4), 1.0, "given_ids"),
        (Needs(teacher=ModelNeeds(vocabulary=True)), 1.0, "vocabulary"),
        (Needs(teacher=ModelNeeds(sampled=True)), 0.6, r"temperature=0\.6: .* at 1 alone, .*objective=topk"),
    ]
    for needs, temperature, line in refused:
        with pytest.raises(UserError, match=line):
            capabilities.require(needs, name, temperature)


def test_refusals_are_one_line(served: tuple[str, Stub], rollout: Rollout) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=rf"no server answers at {nobody} .*`vllm serve MODEL .*--max-logprobs"):
        opened(nobody)
    with pytest.raises(UserError, match=r"teacher\.model=mine: http.* serves served"):
        opened(served[0], model="mine")
    with running(TEACHER) as another, pytest.raises(UserError, match="is another server"):
        opened(another)
    teacher = opened(served[0])
    with pytest.raises(UserError, match=r"max allowed: 64.*start it with --max-logprobs 100"):
        teacher.score(rollout, rollout.sampled_mask, Request(top_k=100))
    odd = tiny_model(2, tokenizer=tiny_tokenizer([("a", "b")]))
    with stubbed(odd) as (address, _):
        other = VLLMTeacher(servers=[address], backoff=0.02, patience=60.0)
        student = tiny_model(3, tokenizer=tiny_tokenizer([("x", "y")]))
        met = other.open(TeacherContext("cpu", student, 1.0, MicroBatch(2)))
        with pytest.raises(UserError, match="id 260 is 'xy' there and 'ab' here"):
            met.check(student)
        met.close()
    teacher.close()
