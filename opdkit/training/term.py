"""Defines methods: a list of terms, each with its own loss under its own denominator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from opdkit.data.loss import Aggregation, Objective
from opdkit.data.rollout import Author
from opdkit.errors import UserError
from opdkit.masking import Masking
from opdkit.rewards import Reward, asks_teacher
from opdkit.seeding import derive_seed
from opdkit.teachers import Teacher
from opdkit.training.best_of import BestOf
from opdkit.training.curriculum import PassRate
from opdkit.training.writing import Schedule


@dataclass(frozen=True)
class Term:
    """One summand of a step's loss. A choice that is None is the run's own.

    Attributes:
        objective: the loss of every token.
        author: who writes the responses: the student, the teacher, or the data (the problem's worked solution, else
            its reference).
        teacher: who scores them.
        reward: what a response is worth.
        masking: which tokens count.
        aggregation: how token losses become one number.
        weight: of this term in the step's loss.
        every: steps from one use of the term to the next.
        selection: of an author that is the teacher: it writes several responses to each prompt, and this chooses the
            one that is trained on. None: it writes as often as the student, and all are.
        curriculum: weighs the prompts by the student's pass rate. None: all weigh the same.
    """

    objective: Objective | None = None
    author: Author = "student"
    teacher: Teacher | None = None
    reward: Reward | None = None
    masking: Masking | None = None
    aggregation: Aggregation | None = None
    weight: float = 1.0
    every: int = 1
    selection: BestOf | None = None
    curriculum: PassRate | None = None

    def __post_init__(self) -> None:
        if self.selection is not None and self.author != "teacher":
            raise UserError(f"selection chooses among what a teacher writes, and author={self.author}")
        if self.curriculum is not None and self.author != "student":
            raise UserError(f"curriculum looks at the student's pass rate, and author={self.author}")
        if self.author not in get_args(Author):
            raise UserError(f"author={self.author!r} is not one of {', '.join(get_args(Author))}")
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"weight={self.weight} must be at least 0, and finite")
        if self.every < 1:
            raise UserError(f"every={self.every} must be at least 1")


@dataclass(frozen=True)
class Method:
    """The terms of a run, by name.

    Attributes:
        terms: a step adds up all that are due.
        share: None, or for two terms: a step has the first one with this probability, else the second, and the loss
            is that term's alone (GKD's lambda).
        length: the longest response by step, None for the engine's limit alone.
        prefix: tokens that the teacher writes by step before the student goes on, None for none.
    """

    terms: Mapping[str, Term]
    share: float | None = None
    length: Schedule | None = None
    prefix: Schedule | None = None

    def __post_init__(self) -> None:
        if not self.terms:
            raise UserError("terms={} has no term: a method needs at least one")
        if self.share is not None and len(self.terms) != 2:
            raise UserError(f"share={self.share} chooses between two terms, and there are {len(self.terms)}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise UserError(f"share={self.share} must be between 0 and 1")


@dataclass(frozen=True)
class BoundTerm:
    """A term whose choices are all made. `teacher` is None where nothing of the term asks for one."""

    name: str
    objective: Objective
    author: Author
    teacher: Teacher | None
    reward: Reward
    masking: Masking
    aggregation: Aggregation
    weight: float
    every: int
    selection: BestOf | None = None
    curriculum: PassRate | None = None


@dataclass(frozen=True)
class RunChoices:
    """The run's own choices, for terms that leave them open."""

    objective: Objective
    teacher: Teacher | None
    reward: Reward
    masking: Masking
    aggregation: Aggregation
    temperature: float = 1.0


def bind_terms(method: Method, run: RunChoices) -> tuple[BoundTerm, ...]:
    """The terms with the run's choices filled in. Raises UserError for a teacher that is missing or unfit."""
    terms = tuple(_bound(name, term, run) for name, term in method.terms.items())
    beside = method.share is None and any(term.author == "student" and term.every == 1 for term in terms)
    for term in terms:
        if term.selection is not None and term.selection.alignment == "positional" and not beside:
            raise UserError(
                f"method.terms.{term.name}.selection.alignment=positional: compares with the student's rollouts of the "
                "step, and no term has them in every step; allowed: teacher_forced"
            )
    return terms


def _bound(name: str, term: Term, run: RunChoices) -> BoundTerm:
    objective: Objective = term.objective or run.objective
    teacher: Teacher | None = term.teacher or run.teacher
    reward: Reward = term.reward or run.reward
    reasons = {
        "its objective needs one": objective.needs.teacher is not None,
        "the teacher is its author": term.author == "teacher",
        "its reward has the run's teacher write where reward.teacher names no text model": asks_teacher(reward),
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found and teacher is None:
        raise UserError(f"method.terms.{name}: {found[0]}, and teacher=null")
    if found and teacher is not None:
        teacher.capabilities.require(objective.needs, teacher.path, run.temperature)
        if found != ["its objective needs one"] and not teacher.capabilities.text:
            raise UserError(f"method.terms.{name}: {found[-1]}, and teacher={teacher.path} writes no responses")
    return BoundTerm(
        name=name,
        objective=objective,
        author=term.author,
        teacher=teacher if found else None,
        reward=reward,
        masking=term.masking or run.masking,
        aggregation=term.aggregation or run.aggregation,
        weight=term.weight,
        every=term.every,
        selection=term.selection,
        curriculum=term.curriculum,
    )


def due_terms(terms: tuple[BoundTerm, ...], share: float | None, seed: int, step: int) -> list[tuple[BoundTerm, float]]:
    """The terms of step `step` (from 0) with their weights."""
    if share is None:
        return [(term, term.weight) for term in terms if step % term.every == 0]
    drawn = derive_seed(seed, "writer", step) / 2**63
    return [(terms[0] if drawn < share else terms[1], 1.0)]
