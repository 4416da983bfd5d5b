"""The same response behind another prompt: scored as by hand, and never shown to the student."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from opdkit.data.loss import TokenBatch
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.divergences import JensenShannon
from opdkit.generation import HFRollout, pad_prompts
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.objectives import TokenDivergence
from opdkit.samplers import Ancestral
from opdkit.teachers import OpenTeacher, PrivilegedTeacher, SelfTeacher, TeacherContext
from tests.tiny import rendered, tiny_model, tiny_problems, written

TEMPLATE = "{question} It is {answer}."


@pytest.fixture(scope="module")
def student() -> LanguageModel:
    return tiny_model(0)


@pytest.fixture(scope="module")
def rollout(student: LanguageModel) -> Rollout:
    return written(HFRollout(8, 64), student, rendered(student, tiny_problems(5)), Ancestral(), 1.0, [1, 2, 3, 4, 5])


def opened(student: LanguageModel, template: str = TEMPLATE, **changes: object) -> OpenTeacher:
    spec = PrivilegedTeacher(SelfTeacher("live"), template, **changes)  # pyright: ignore[reportArgumentType]
    return spec.open(TeacherContext("cpu", student, 0.7, MicroBatch(2)))


def told(rollout: Rollout, **context: str) -> Rollout:
    """The rollout with more in the context of each problem."""
    problems = tuple(replace(p, context={**p.context, **context}) for p in rollout.prompts.problems)
    return replace(rollout, prompts=replace(rollout.prompts, problems=problems))


def by_hand(student: LanguageModel, rollout: Rollout, turns: list[tuple[Message, ...]]) -> Tensor:
    """Row by row, without padding, behind prompts that the test writes itself."""
    found = torch.zeros(rollout.tokens.shape)
    for row, messages in enumerate(turns):
        n = int(rollout.sampled_mask[row].sum())
        ids = [*student.render(messages), *rollout.tokens[row, :n].tolist()]
        with torch.no_grad():
            logits = student.module(torch.tensor([ids])).logits[0, :, : student.vocabulary] / 0.7
        start = len(ids) - n
        for place in range(n):
            found[row, place] = logits[start + place - 1].log_softmax(-1)[ids[start + place]]
    return found


SAMPLED = Request(sampled=True)


def scored(teacher: OpenTeacher, rollout: Rollout) -> Tensor:
    found = teacher.score(rollout, rollout.sampled_mask, SAMPLED).sampled_log_prob
    assert found is not None
    return found


def test_scores_are_those_behind_the_other_prompt(student: LanguageModel, rollout: Rollout) -> None:
    turns = [(Message("user", f"{p.messages[0].content} It is {p.reference}."),) for p in rollout.prompts.problems]
    found = scored(opened(student), rollout)
    torch.testing.assert_close(found, by_hand(student, rollout, turns), rtol=1e-4, atol=1e-5)
    plain = by_hand(student, rollout, [p.messages for p in rollout.prompts.problems])
    assert (found - plain).abs().max() > 0.1


def test_a_system_turn_and_earlier_turns(student: LanguageModel, rollout: Rollout) -> None:
    teacher = opened(student, "{question}!", system="Hint: {hint}")
    chat = (Message("system", "old"), Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    problems = tuple(replace(p, messages=chat, context={"hint": "x"}) for p in rollout.prompts.problems)
    asked = replace(rollout, prompts=replace(rollout.prompts, problems=problems))
    turns = (Message("system", "Hint: x"), Message("user", "a"), Message("assistant", "b"), Message("user", "c!"))
    expected = by_hand(student, rollout, [turns] * 5)
    torch.testing.assert_close(scored(teacher, asked), expected, rtol=1e-4, atol=1e-5)


def test_an_empty_context_is_the_teacher_alone(student: LanguageModel, rollout: Rollout) -> None:
    """Live, that is the student itself: every divergence is 0, and so is its gradient."""
    teacher = opened(student, "{question}")
    request = Request(sampled=True, vocabulary=True)
    said = teacher.score(rollout, rollout.sampled_mask, request)
    own = Scorer(student)(rollout, rollout.sampled_mask, request, 0.7)
    torch.testing.assert_close(said.sampled_log_prob, own.sampled_log_prob)
    objective = TokenDivergence(support="full", divergence=JensenShannon(0.5))
    loss = objective(own, said, TokenBatch(rollout.sampled_mask)).value
    assert loss.abs().max() < 1e-6


def test_the_gradient_is_that_of_the_students_pass_alone(rollout: Rollout) -> None:
    """Equal to the gradient against scores that are plain numbers."""
    student = tiny_model(0)
    student.module.requires_grad_()
    request = Request(sampled=True, vocabulary=True)
    objective = TokenDivergence(support="full", divergence=JensenShannon(0.5))
    said = opened(student).score(rollout, rollout.sampled_mask, request)
    assert said.hidden is not None
    assert not said.hidden.requires_grad
    apart = opened(tiny_model(0)).score(rollout, rollout.sampled_mask, request)  # shares nothing with the student

    def gradient(teacher: Scores) -> list[Tensor]:
        student.module.zero_grad()
        own = Scorer(student)(rollout, rollout.sampled_mask, request, 0.7)
        objective(own, teacher, TokenBatch(rollout.sampled_mask)).value.sum().backward()
        return [p.grad.clone() for p in student.module.parameters() if p.grad is not None]

    torch.testing.assert_close(gradient(said), gradient(apart))
    assert max(float(g.abs().max()) for g in gradient(said)) > 1e-3


def test_a_wrong_answer_in_the_context_changes_the_scores(student: LanguageModel, rollout: Rollout) -> None:
    right, wrong = (scored(opened(student), told(rollout, answer=text)) for text in ("7", "8"))
    assert (right - wrong).abs().max() > 1e-2


def test_the_students_prompt_stays_as_it_is(student: LanguageModel, rollout: Rollout) -> None:
    secret = told(rollout, answer="SECRET")
    ids = secret.prompts.ids.clone()
    opened(student).score(secret, secret.sampled_mask, SAMPLED)
    assert torch.equal(secret.prompts.ids, ids)
    assert all("SECRET" not in student.decode(row) for row in secret.prompts.ids.tolist())
    assert all("SECRET" not in m.content for p in secret.prompts.problems for m in p.messages)


def test_rows_without_a_prompt_do_not_count_and_are_counted(student: LanguageModel, rollout: Rollout) -> None:
    problems = list(rollout.prompts.problems)
    problems[1] = replace(problems[1], context={"answer": " "})
    problems[3] = replace(problems[3], context={"answer": "9" * 40})
    asked = replace(rollout, prompts=replace(rollout.prompts, problems=tuple(problems)))
    teacher = opened(student, max_prompt_tokens=60)
    said = teacher.score(asked, asked.sampled_mask, SAMPLED)
    assert said.scored is not None
    assert said.sampled_log_prob is not None
    kept = torch.tensor([True, False, True, False, True])
    assert torch.equal(said.scored, asked.sampled_mask & kept[:, None])
    assert not said.sampled_log_prob[~kept].any()
    whole = scored(opened(student), rollout)
    torch.testing.assert_close(said.sampled_log_prob[kept], whole[kept], rtol=1e-4, atol=1e-5)
    assert teacher.metrics()["prompts_without_field"] == 1
    assert teacher.metrics()["prompts_too_long"] == 1


def test_a_prompt_beyond_the_models_positions_is_too_long(rollout: Rollout) -> None:
    student = tiny_model(0, max_position_embeddings=48)
    teacher = opened(student)
    asked = told(rollout, answer="9" * 30)
    assert not teacher.score(asked, asked.sampled_mask, SAMPLED).scored.any()  # pyright: ignore
    assert teacher.metrics()["prompts_too_long"] == 5


def test_what_a_field_stands_for() -> None:
    bare = Problem("p", (Message("user", "q"),), "42")
    assert [bare.text(n) for n in ("question", "answer", "solution", "demonstration")] == ["q", "42", "42", "42"]
    assert bare.text("feedback") is None
    full = replace(bare, context={"answer": "", "solution": "6 * 7", "feedback": "no"})
    assert [full.text(n) for n in ("answer", "solution", "demonstration", "feedback")] == [None, "6 * 7", "6 * 7", "no"]


def test_what_stands_in_a_field_is_no_template() -> None:
    spec = PrivilegedTeacher(SelfTeacher(), "{question} {answer}")
    (turn,) = spec.messages(Problem("p", (Message("user", "{answer}"),), "{question}")) or ()
    assert turn.content == "{answer} {question}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"template": "the answer is {answer}"}, r"has no \{question\}"),
        ({"max_prompt_tokens": 0}, "max_prompt_tokens=0"),
        ({"inner": PrivilegedTeacher(SelfTeacher(), "{question}")}, "privileged teacher itself"),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        PrivilegedTeacher(**({"inner": SelfTeacher(), "template": "{question}"} | changes))  # pyright: ignore


def test_it_tells_what_it_reads_and_writes_nothing() -> None:
    capabilities = PrivilegedTeacher(SelfTeacher(), TEMPLATE, system="{hint}").capabilities
    assert capabilities.reads == {"question", "answer", "hint"}
    assert not capabilities.text
    assert capabilities.changes


def test_padding_changes_nothing(student: LanguageModel, rollout: Rollout) -> None:
    wider = [row[mask].tolist() for row, mask in zip(rollout.prompts.ids, rollout.prompts.attention_mask, strict=True)]
    prompts = pad_prompts(student, [*wider, [0] * 60], [*rollout.prompts.problems, rollout.prompts.problems[0]])
    padded = replace(rollout, prompts=replace(
        rollout.prompts, ids=prompts.ids[:5], attention_mask=prompts.attention_mask[:5]
    ))  # fmt: skip
    assert torch.equal(scored(opened(student), padded), scored(opened(student), rollout))
