"""Which terms a step has, and what a term takes from the run."""

from __future__ import annotations

import pytest

from opdkit.errors import UserError
from opdkit.masking import NoMask
from opdkit.objectives import GroupRelativePolicy, TokenDivergence, TokenMean
from opdkit.rewards import RubricReward, TaskReward
from opdkit.teachers import LocalTeacher
from opdkit.text.scripted import SumsScript
from opdkit.training.term import BoundTerm, Method, RunChoices, Term, bind_terms, due_terms

TEACHER = LocalTeacher("embedded/teacher")


def choices(**changes: object) -> RunChoices:
    objective = TokenDivergence(k=4, tail="renormalise")
    fields = {"objective": objective, "teacher": TEACHER, "reward": TaskReward(), "masking": NoMask(),
              "aggregation": TokenMean()}  # fmt: skip
    return RunChoices(**fields | changes)  # pyright: ignore[reportArgumentType]


def bound(method: Method, **changes: object) -> tuple[BoundTerm, ...]:
    return bind_terms(method, choices(**changes))


def authors(share: float, steps: int, seed: int = 0) -> list[str]:
    terms = bound(Method({"student": Term(), "teacher": Term(author="teacher")}, share))
    return [term.author for step in range(steps) for term, _ in due_terms(terms, share, seed, step)]


def test_the_student_alone_at_one_and_the_teacher_alone_at_zero() -> None:
    assert {*authors(1.0, 200)} == {"student"}
    assert {*authors(0.0, 200)} == {"teacher"}


def test_the_share_is_met_and_a_step_draws_the_same_again() -> None:
    found = authors(0.25, 2000)
    assert found.count("student") / 2000 == pytest.approx(0.25, abs=0.03)  # three standard errors
    assert found == authors(0.25, 2000)
    assert found != authors(0.25, 2000, seed=1)


def test_terms_are_added_with_their_weights_at_the_steps_where_they_are_due() -> None:
    terms = bound(Method({"a": Term(weight=0.5), "b": Term(every=3)}))
    due = [[(term.name, weight) for term, weight in due_terms(terms, None, 0, step)] for step in range(4)]
    assert due == [[("a", 0.5), ("b", 1.0)], [("a", 0.5)], [("a", 0.5)], [("a", 0.5), ("b", 1.0)]]


def test_a_teacher_is_loaded_only_where_it_is_needed() -> None:
    (needed,) = bound(Method({"student": Term()}))
    (free,) = bound(Method({"student": Term()}), objective=GroupRelativePolicy())
    (held,) = bound(Method({"student": Term()}), objective=GroupRelativePolicy(kl_weight=0.1))
    assert [needed.teacher, free.teacher, held.teacher] == [TEACHER, None, TEACHER]
    assert bound(Method({"student": Term()}), objective=GroupRelativePolicy(), teacher=None)[0].teacher is None
    rewards = (RubricReward(text=SumsScript()), RubricReward(text=SumsScript(), teacher=SumsScript()))
    judged = [bound(Method({"a": Term(reward=one)}), objective=GroupRelativePolicy())[0] for one in rewards]
    assert [term.teacher for term in judged] == [TEACHER, None]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (Method({"student": Term()}), "method.terms.student: its objective needs one, and teacher=null"),
        (
            Method({"judged": Term(objective=GroupRelativePolicy(), reward=RubricReward(text=SumsScript()))}),
            "method.terms.judged: its reward has the run's teacher write .*, and teacher=null",
        ),
        (
            Method({"other": Term(objective=GroupRelativePolicy(), author="teacher")}),
            "method.terms.other: the teacher is its author, and teacher=null",
        ),
    ],
)
def test_a_missing_teacher_is_refused(method: Method, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bound(method, teacher=None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Term(author="judge"), lambda: Term(weight=-1.0), lambda: Term(every=0), lambda: Method({}),
        lambda: Method({"a": Term()}, 0.5), lambda: Method({"a": Term(), "b": Term()}, 1.5),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(make: object) -> None:
    with pytest.raises(UserError):
        make()  # pyright: ignore[reportCallIssue]
