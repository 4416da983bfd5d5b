"""Shares what rewards with text models need: teacher answers, blind pools, repeated questions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from opdkit.errors import UserError
from opdkit.rewards.base import Group, RewardContext
from opdkit.rewards.judgements import JudgeError
from opdkit.seeding import derive_seed
from opdkit.text.base import Chat, TextModel, TextSpec

Read = TypeVar("Read")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Question(Generic[Read]):
    """A chat and how its answer is read; `read` raises JudgeError."""

    chat: Chat
    read: Callable[[str | None], Read]


def ask(
    model: TextModel, questions: Sequence[Question[Read]], attempts: int, failures: Counter[str]
) -> list[Read | None]:
    """What each question's answer says, None where no answer could be read in all attempts.

    Args:
        model: who is asked.
        questions: asked together.
        attempts: how often a question is put, each time with another seed.
        failures: counts the answers that could not be read, by reason.
    """
    found: list[Read | None] = [None] * len(questions)
    open_ones = list(range(len(questions)))
    for attempt in range(attempts):
        chats = [_again(questions[place].chat, attempt) for place in open_ones]
        answers = model.complete(chats) if chats else []
        remaining: list[int] = []
        for place, answer in zip(open_ones, answers, strict=True):
            try:
                found[place] = questions[place].read(answer)
            except JudgeError as error:
                failures[error.reason] += 1
                remaining.append(place)
        open_ones = remaining
    return found


def _again(chat: Chat, attempt: int) -> Chat:
    return replace(chat, seed=derive_seed(chat.seed, "attempt", attempt)) if attempt else chat


@dataclass(frozen=True)
class Pool:
    """Teacher and student answers in one shuffled order.

    Attributes:
        texts: as they are shown.
        teachers: how many are the teacher's.
        order: the text shown at place i is answer `order[i]` of teachers and then students.
    """

    texts: tuple[str, ...]
    teachers: int
    order: tuple[int, ...]

    @classmethod
    def shuffled(cls, teachers: Sequence[str], students: Sequence[str], seed: int) -> Pool:
        """A pool whose order depends on the seed alone."""
        answers = [*teachers, *students]
        order = tuple(int(i) for i in np.random.default_rng(seed).permutation(len(answers)))
        return cls(tuple(answers[i] for i in order), len(teachers), order)

    def apart(self, values: Sequence[Value]) -> tuple[list[Value], list[Value]]:
        """Values of the texts as they are shown -> those of the teachers and those of the students, in their order."""
        back = dict(zip(self.order, values, strict=True))
        ordered = [back[i] for i in range(len(values))]
        return ordered[: self.teachers], ordered[self.teachers :]

    def identities(self) -> str:
        """A note that says who wrote what."""
        by_teacher = [str(place) for place, i in enumerate(self.order, start=1) if i < self.teachers]
        listed = ", ".join(by_teacher) or "none"
        return f" The teacher wrote these responses: {listed}. A student wrote all the others."


class TeacherAnswers:
    """Writes a teacher's answers to each problem: with a text model, or with the run's teacher.

    An answer depends on the problem, its number and the run's seed, not on the step: a problem that comes again gets
    the same answers, which a text model's record then holds.

    Args:
        count: answers a problem; with 0 nobody is asked.
        model: a text model, None for the run's teacher.
        context: of the reward.
        temperature: of the text model's sampling; the run's teacher has its own.
    """

    def __init__(self, count: int, model: TextModel | None, context: RewardContext, temperature: float) -> None:
        self._count = count
        self._model = model
        self._context = context
        self._temperature = temperature

    @staticmethod
    def require(count: int, spec: TextSpec | None, context: RewardContext) -> None:
        """Raise UserError where answers are wanted and nobody can write them."""
        if count and spec is None and context.teacher is None:
            raise UserError(
                "reward.teacher: the run's teacher can't write answers, and no text model is named to do so; "
                "name one, as in +text@reward.teacher=openai"
            )

    def of(self, groups: Sequence[Group]) -> list[list[str]]:
        """The answers to each group's problem that did come, at most `count`."""
        asked = [
            (group.problem.messages, derive_seed(self._context.seed, "teacher answer", group.problem.identifier, i))
            for group in groups
            for i in range(self._count)
        ]
        answers: Sequence[str | None] = []
        if asked and self._model is not None:
            answers = self._model.complete([Chat(m, seed, temperature=self._temperature) for m, seed in asked])
        elif asked and self._context.teacher is not None:
            answers = self._context.teacher(asked)
        size = self._count
        return [[a for a in answers[i * size : (i + 1) * size] if a is not None] for i in range(len(groups))]


class UsageMeter:
    """What the models of a reward used since the last reading."""

    def __init__(self, models: Iterable[TextModel]) -> None:
        self._models = tuple(models)
        self._before = self._total()

    def read(self) -> dict[str, float]:
        """calls, cached, failed_calls, tokens, seconds."""
        now, before = self._total(), self._before
        self._before = now
        used = {name: now[name] - before.get(name, 0.0) for name in now}
        tokens = used.get("prompt_tokens", 0.0) + used.get("completion_tokens", 0.0)
        plain = {name: used.get(name, 0.0) for name in ("calls", "cached", "seconds")}
        return plain | {"failed_calls": used.get("failed", 0.0), "tokens": tokens}

    def _total(self) -> dict[str, float]:
        total: defaultdict[str, float] = defaultdict(float)
        for model in self._models:
            for name, value in model.usage().items():
                total[name] += value
        return dict(total)
