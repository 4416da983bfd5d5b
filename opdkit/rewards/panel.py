"""Components of rewards with text models: teacher answers, blind pools, retried questions."""

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
    """A chat and the parser of its answer, which raises JudgeError."""

    chat: Chat
    read: Callable[[str | None], Read]


def ask(
    model: TextModel, questions: Sequence[Question[Read]], attempts: int, failures: Counter[str]
) -> list[Read | None]:
    """The parsed answer to each question, None if none of the attempts could be parsed.

    Args:
        model: the text model.
        questions: the questions, sent together.
        attempts: maximum attempts per question, each with another seed.
        failures: counts the unparsable answers by reason.
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
        texts: the texts in the order shown.
        teachers: the number of teacher answers.
        order: the text shown at index i is answer `order[i]` of the teachers followed by the students.
    """

    texts: tuple[str, ...]
    teachers: int
    order: tuple[int, ...]

    @classmethod
    def shuffled(cls, teachers: Sequence[str], students: Sequence[str], seed: int) -> Pool:
        """A pool whose order depends only on the seed."""
        answers = [*teachers, *students]
        order = tuple(int(i) for i in np.random.default_rng(seed).permutation(len(answers)))
        return cls(tuple(answers[i] for i in order), len(teachers), order)

    def apart(self, values: Sequence[Value]) -> tuple[list[Value], list[Value]]:
        """Split values in the order shown into those of the teachers and of the students, in their original order."""
        back = dict(zip(self.order, values, strict=True))
        ordered = [back[i] for i in range(len(values))]
        return ordered[: self.teachers], ordered[self.teachers :]

    def identities(self) -> str:
        """A note with the author of each text."""
        by_teacher = [str(place) for place, i in enumerate(self.order, start=1) if i < self.teachers]
        listed = ", ".join(by_teacher) or "none"
        return f" The teacher wrote these responses: {listed}. A student wrote all the others."


class TeacherAnswers:
    """Generates a teacher's answers to each problem, with a text model or the run's teacher.

    An answer depends on the problem, the answer's index and the run's seed, not on the step, so that a recurring
    problem gets the same answers, which a text model serves from its records.

    Args:
        count: answers per problem, 0 for none.
        model: a text model, None for the run's teacher.
        context: the reward's context.
        temperature: the text model's sampling temperature; the run's teacher has its own.
    """

    def __init__(self, count: int, model: TextModel | None, context: RewardContext, temperature: float) -> None:
        self._count = count
        self._model = model
        self._context = context
        self._temperature = temperature

    @staticmethod
    def require(count: int, spec: TextSpec | None, context: RewardContext) -> None:
        """Raises UserError if answers are needed but neither the run's teacher nor a text model can write them."""
        if count and spec is None and context.teacher is None:
            raise UserError(
                "reward.teacher: the run's teacher can't write answers, and no text model is named to do so; "
                "name one, as in +text@reward.teacher=openai"
            )

    def of(self, groups: Sequence[Group]) -> list[list[str]]:
        """The answers received for each group's problem, at most `count`."""
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
    """The resources used by the models of a reward since the last reading."""

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
