"""Requests rubrics for a group's answers, and verdicts on their criteria."""

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
    """Settings of the requests for rubrics and verdicts.

    Attributes:
        rubric_temperature: the rubricator's sampling temperature.
        verify_temperature: the verifier's sampling temperature.
        attempts: maximum number of requests if a model's answer can't be parsed.
        characters: maximum length of each text shown.
        blind: whether to hide from the verifier which answers are the teacher's.
    """

    rubric_temperature: float
    verify_temperature: float
    attempts: int
    characters: int
    blind: bool


@dataclass
class Case:
    """One rubric and the answers graded with it. Results that could not be obtained are None.

    Attributes:
        group_index: the index of the group.
        group: the prompt and all its responses.
        answers: the teacher's answers.
        places: indices of the group's responses that are graded here.
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
        """The responses graded here."""
        return [self.group.responses[place] for place in self.places]


class Examiner:
    """Requests rubrics and verdicts.

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
        """Fill in rubrics and verdicts. Returns the number of unusable answers by reason.

        Args:
            cases: the cases to grade; those without a teacher answer are not changed.
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
