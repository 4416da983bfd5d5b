"""A scalar judge as the reward: a text model scores each response."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.rewards.base import Group, OpenReward, RewardContext
from opdkit.rewards.judgements import LARGEST_SCORE, read_scores
from opdkit.rewards.measures import agreement, signal, task_verdicts
from opdkit.rewards.panel import Pool, Question, TeacherAnswers, UsageMeter, ask
from opdkit.rewards.prompts import judge_chat
from opdkit.seeding import derive_seed
from opdkit.text.base import TextModel, TextSpec


@dataclass(frozen=True, kw_only=True)
class JudgeReward:
    """A judge's score from 0 to 10, divided by 10. The judge sees a group's responses together, shuffled.

    If the judge fails, the group has no reward: its grades do not count.

    Attributes:
        text: the judge.
        teacher: the model that writes teacher answers; None for the run's teacher.
        teacher_answers: number of teacher answers shown together with the responses; 0 for none.
        blind: whether to hide from the judge which of them are the teacher's.
        temperature: the judge's sampling temperature.
        teacher_temperature: `teacher`'s sampling temperature.
        attempts: maximum number of requests if the judge's answer can't be parsed.
        characters: maximum length of each text shown; longer ones are cut in the middle.
    """

    text: TextSpec | None
    teacher: TextSpec | None = None
    teacher_answers: int = 0
    blind: bool = True
    temperature: float = 0.0
    teacher_temperature: float = 0.7
    attempts: int = 2
    characters: int = 12_000

    def __post_init__(self) -> None:
        if self.teacher_answers < 0:
            raise UserError(f"teacher_answers={self.teacher_answers} must be at least 0")
        check_asking(self.text, (self.temperature, self.teacher_temperature), self.attempts, self.characters)

    @property
    def asks_teacher(self) -> bool:
        """See `AsksTeacher`."""
        return self.teacher is None and self.teacher_answers > 0

    def open(self, context: RewardContext) -> OpenReward:
        """See `Reward`."""
        return OpenJudge(self, context)


def check_asking(text: object, temperatures: Sequence[float], attempts: int, characters: int) -> None:
    """Check the settings common to all rewards with a text model. Raises UserError."""
    if text is None:
        allowed = ", ".join(f"text={name}" for name in ("openai", "local", "sums_script", "agreement_script"))
        raise UserError(f"text: no text model is chosen; allowed: {allowed}")
    for value in temperatures:
        if not 0 <= value <= 10:
            raise UserError(f"temperature={value} is not allowed: 0 to 10")
    if attempts < 1:
        raise UserError(f"attempts={attempts} must be at least 1")
    if characters < 100:
        raise UserError(f"characters={characters} must be at least 100")


def open_text(spec: TextSpec, context: RewardContext, role: str) -> TextModel:
    """Open a text model whose exchanges are recorded in `<role>.jsonl` in the reward's folder."""
    return spec.open(None if context.folder is None else context.folder / f"{role}.jsonl")


class OpenJudge:
    """A scalar judge with its models open."""

    def __init__(self, spec: JudgeReward, context: RewardContext) -> None:
        assert spec.text is not None
        writes = spec.teacher is not None and spec.teacher_answers > 0
        TeacherAnswers.require(spec.teacher_answers, spec.teacher, context)
        self._spec = spec
        self._context = context
        self._judge = open_text(spec.text, context, "judge")
        self._writer = open_text(spec.teacher, context, "teacher") if spec.teacher is not None and writes else None
        self._teacher = TeacherAnswers(spec.teacher_answers, self._writer, context, spec.teacher_temperature)
        self._models = [model for model in (self._judge, self._writer) if model is not None]
        self._usage = UsageMeter(self._models)
        self._metrics: dict[str, float] = {}

    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        """See `OpenReward`."""
        failures: Counter[str] = Counter()
        verdicts = task_verdicts(self._context.grade, groups)
        pools = [
            Pool.shuffled(answers, group.responses, self._seed(step, group, "pool"))
            for group, answers in zip(groups, self._teacher.of(groups), strict=True)
        ]
        questions = [self._question(group, pool, step) for group, pool in zip(groups, pools, strict=True)]
        scores = ask(self._judge, questions, self._spec.attempts, failures)
        grades: list[list[Grade]] = []
        teachers: list[float] = []
        for pool, found, correct in zip(pools, scores, verdicts, strict=True):
            if found is None:
                grades.append([Grade(0.0, right, status="failed_judge", counts=False) for right in correct])
                continue
            by_teacher, by_student = pool.apart([score / LARGEST_SCORE for score in found])
            teachers += by_teacher
            grades.append([Grade(score, right) for score, right in zip(by_student, correct, strict=True)])
        self._metrics = {**signal(grades), **self._usage.read()}
        self._metrics |= {f"unread_{reason}": float(count) for reason, count in failures.items()}
        if (agreed := agreement(grades)) is not None:
            self._metrics["agreement"] = agreed
        if teachers:
            self._metrics["teacher_mean"] = sum(teachers) / len(teachers)
        return grades

    def metrics(self) -> Mapping[str, float]:
        """`signal`, `agreement`, `UsageMeter.read`; unread_<reason>: number of answers that could not be parsed."""
        return self._metrics

    def close(self) -> None:
        """See `OpenReward`."""
        for model in self._models:
            model.close()

    def _question(self, group: Group, pool: Pool, step: int) -> Question[list[int]]:
        spec = self._spec
        note = "" if spec.blind else pool.identities()
        chat = judge_chat(group.problem, pool.texts, self._seed(step, group, "judge"), spec.characters, note)
        return Question(replace(chat, temperature=spec.temperature), partial(read_scores, responses=len(pool.texts)))

    def _seed(self, step: int, group: Group, purpose: str) -> int:
        return derive_seed(self._context.seed, "reward", purpose, step, group.problem.identifier)
