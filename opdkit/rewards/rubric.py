"""Rubric-based on-policy distillation (ROPD): rubrics derived from the answers of a text-only teacher.

arXiv 2605.07396. For each prompt the teacher gives m answers; a rubricator reads these and the student's n responses
and writes one rubric for the group; a verifier decides each criterion for each answer of a blind, shuffled pool; the
score is computed here from its booleans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.rewards.base import Group, OpenReward, RewardContext
from opdkit.rewards.judge import check_asking, open_text
from opdkit.rewards.measures import agreement, signal, task_verdicts
from opdkit.rewards.panel import TeacherAnswers, UsageMeter
from opdkit.rewards.rubric_cases import Asking, Case, Examiner
from opdkit.rewards.rubric_records import RubricLog, criteria_metrics
from opdkit.text.base import TextSpec

_EPSILON = 1e-6


@dataclass(frozen=True, kw_only=True)
class RubricReward:
    """score = sum of the weights of the criteria met / (sum of all weights + eps).

    If the rubric or its verdicts can't be obtained, the whole group has no reward: its grades do not count.

    Attributes:
        text: the model that writes rubrics, and verifies them unless `verifier` is given.
        verifier: the model that verifies; None for `text`.
        teacher: the model that writes teacher answers; None for the run's teacher.
        teacher_answers: m, teacher answers per prompt.
        shared: whether a group shares one rubric; False for one per response (an ablation).
        blind: whether to hide from the verifier which answers are the teacher's; False for an ablation.
        rubric_temperature: the rubricator's sampling temperature.
        verify_temperature: the verifier's sampling temperature.
        teacher_temperature: `teacher`'s sampling temperature.
        attempts: maximum number of requests if a model's answer can't be parsed.
        characters: maximum length of each text shown; longer ones are cut in the middle.
    """

    text: TextSpec | None
    verifier: TextSpec | None = None
    teacher: TextSpec | None = None
    teacher_answers: int = 4
    shared: bool = True
    blind: bool = True
    rubric_temperature: float = 0.7
    verify_temperature: float = 0.0
    teacher_temperature: float = 0.7
    attempts: int = 2
    characters: int = 12_000

    def __post_init__(self) -> None:
        if self.teacher_answers < 1:
            raise UserError(f"teacher_answers={self.teacher_answers} must be at least 1")
        temperatures = (self.rubric_temperature, self.verify_temperature, self.teacher_temperature)
        check_asking(self.text, temperatures, self.attempts, self.characters)

    @property
    def asks_teacher(self) -> bool:
        """See `AsksTeacher`."""
        return self.teacher is None and self.teacher_answers > 0

    def asking(self) -> Asking:
        """The settings of the examiner."""
        return Asking(
            rubric_temperature=self.rubric_temperature,
            verify_temperature=self.verify_temperature,
            attempts=self.attempts,
            characters=self.characters,
            blind=self.blind,
        )

    def open(self, context: RewardContext) -> OpenReward:
        """See `Reward`."""
        return OpenRubric(self, context)


def score(weights: Sequence[int], met: Sequence[bool]) -> float:
    """The weight of the criteria met as a fraction of the total weight."""
    won = sum(weight for weight, is_met in zip(weights, met, strict=True) if is_met)
    return won / (sum(weights) + _EPSILON)


class OpenRubric:
    """Rubric grading with its models and records open."""

    def __init__(self, spec: RubricReward, context: RewardContext) -> None:
        assert spec.text is not None
        TeacherAnswers.require(spec.teacher_answers, spec.teacher, context)
        self._spec = spec
        self._context = context
        rubricator = open_text(spec.text, context, "rubricator" if spec.verifier else "judge")
        verifier = open_text(spec.verifier, context, "verifier") if spec.verifier is not None else rubricator
        writer = open_text(spec.teacher, context, "teacher") if spec.teacher is not None else None
        self._teacher = TeacherAnswers(spec.teacher_answers, writer, context, spec.teacher_temperature)
        self._examiner = Examiner(rubricator, verifier, spec.asking())
        self._models = [rubricator, *([verifier] if spec.verifier else []), *([writer] if writer else [])]
        self._usage = UsageMeter(self._models)
        self._log = RubricLog(None if context.folder is None else context.folder / "rubrics.jsonl")
        self._metrics: dict[str, float] = {}

    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        """See `OpenReward`."""
        verdicts = task_verdicts(self._context.grade, groups)
        cases = [
            case
            for index, (group, answers) in enumerate(zip(groups, self._teacher.of(groups), strict=True))
            for case in self._cases(index, group, answers)
        ]
        failures = self._examiner.examine(cases, (self._context.seed, step))
        grades = [_grades(index, cases, correct) for index, correct in enumerate(verdicts)]
        self._log.write(step, cases)
        self._metrics = {**signal(grades), **criteria_metrics(cases), **self._usage.read()}
        self._metrics |= {f"unread_{reason}": float(count) for reason, count in failures.items()}
        if (agreed := agreement(grades)) is not None:
            self._metrics["agreement"] = agreed
        return grades

    def metrics(self) -> Mapping[str, float]:
        """`signal`, `agreement`, `criteria_metrics`, `UsageMeter.read`; unread_<reason>: number of unparsable answers,
        with `no_teacher` for groups without a teacher answer."""
        return self._metrics

    def close(self) -> None:
        """See `OpenReward`."""
        for model in self._models:
            model.close()

    def _cases(self, index: int, group: Group, answers: Sequence[str]) -> list[Case]:
        places = range(len(group.responses))
        shares = [tuple(places)] if self._spec.shared else [(place,) for place in places]
        return [Case(index, group, tuple(answers), share) for share in shares]


def _grades(index: int, cases: Sequence[Case], correct: Sequence[bool | None]) -> list[Grade]:
    """Grades of one group, in the order of its responses; none count if a case failed."""
    own = [case for case in cases if case.group_index == index]
    if any(case.students is None for case in own):
        return [Grade(0.0, right, status="failed_judge", counts=False) for right in correct]
    grades: dict[int, Grade] = {}
    for case in own:
        weights = [criterion.weight for criterion in case.rubric or ()]
        for place, met in zip(case.places, case.students or (), strict=True):
            parts = {"criteria_met": sum(met) / len(met), "criteria": float(len(met))}
            grades[place] = Grade(score(weights, met), correct[place], parts=parts)
    return [grades[place] for place in range(len(correct))]
