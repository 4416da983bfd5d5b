"""Asks for rubrics of a group's answers, and for the verdicts on their criteria."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from opdkit.rewards.base import Group
from opdkit.rewards.judgements import Criterion, read_rubric, read_verdicts
from opdkit.rewards.panel import Pool, Question, ask
from opdkit.rewards.prompts import rubricator_chat, verifier_chat
from opdkit.seeding import derive_seed
from opdkit.text.base import TextModel


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How rubrics and verdicts are asked for.

    Attributes:
        rubric_temperature: of the rubricator's sampling.
        verify_temperature: of the verifier's.
        attempts: how often a model is asked whose answer can't be read.
        characters: of each text that is shown, at most.
        blind: whether the verifier is kept from knowing which answers are the teacher's.
    """

    rubric_temperature: float
    verify_temperature: float
    attempts: int
    characters: int
    blind: bool


@dataclass
class Case:
    """One rubric and those who are graded by it. What is None could not be had.

    Attributes:
        group_index: of the group.
        group: the prompt and all its responses.
        answers: the teacher's.
        places: which responses of the group are graded here.
        rubric: its criteria.
        teachers: for each teacher answer, whether it meets each criterion.
        students: for each response of `places`, whether it meets each criterion.
    """

    group_index: int
    group: Group
    answers: tuple[str, ...]
    places: tuple[int, ...]
    rubric: tuple[Criterion, ...] | None = None
    teachers: list[list[bool]] | None = None
    students: list[list[bool]] | None = None

    def responses(self) -> list[str]:
        """The responses that are graded here."""
        return [self.group.responses[place] for place in self.places]


class Examiner:
    """Asks for rubrics and for verdicts.

    Args:
        rubricator: writes rubrics.
        verifier: decides criteria.
        asking: temperatures, attempts, limits.
    """

    def __init__(self, rubricator: TextModel, verifier: TextModel, asking: Asking) -> None:
        self._rubricator = rubricator
        self._verifier = verifier
        self._asking = asking

    def examine(self, cases: Sequence[Case], root: tuple[int, int]) -> Counter[str]:
        """Fill in rubrics and booleans; returns why answers could not be used, counted.

        Args:
            cases: all that are to be graded; those without a teacher answer are left as they are.
            root: the run's seed and the step.
        """
        failures: Counter[str] = Counter()
        written = [case for case in cases if case.answers]
        if left := len(cases) - len(written):
            failures["no_teacher"] += left
        rubrics = ask(
            self._rubricator, [self._rubric_question(c, root) for c in written], self._asking.attempts, failures
        )
        for case, rubric in zip(written, rubrics, strict=True):
            case.rubric = rubric
        with_rubric = [case for case in written if case.rubric is not None]
        pools = [Pool.shuffled(c.answers, c.responses(), _seed(c, root, "pool")) for c in with_rubric]
        questions = [self._verdict_question(c, pool, root) for c, pool in zip(with_rubric, pools, strict=True)]
        verdicts = ask(self._verifier, questions, self._asking.attempts, failures)
        for case, pool, found in zip(with_rubric, pools, verdicts, strict=True):
            if found is not None:
                case.teachers, case.students = pool.apart(found)
        return failures

    def _rubric_question(self, case: Case, root: tuple[int, int]) -> Question[tuple[Criterion, ...]]:
        seed = _seed(case, root, "rubric")
        chat = rubricator_chat(case.group.problem, case.answers, case.responses(), seed, self._asking.characters)
        return Question(replace(chat, temperature=self._asking.rubric_temperature), read_rubric)

    def _verdict_question(self, case: Case, pool: Pool, root: tuple[int, int]) -> Question[list[list[bool]]]:
        rubric, note = case.rubric or (), "" if self._asking.blind else pool.identities()
        seed = _seed(case, root, "verdicts")
        chat = verifier_chat(case.group.problem, rubric, pool.texts, seed, self._asking.characters, note)
        read = partial(read_verdicts, responses=len(pool.texts), criteria=len(rubric))
        return Question(replace(chat, temperature=self._asking.verify_temperature), read)


def _seed(case: Case, root: tuple[int, int], purpose: str) -> int:
    seed, step = root
    return derive_seed(seed, "reward", purpose, step, case.group.problem.identifier, case.places[0])
