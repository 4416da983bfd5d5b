"""Runs the doctor's checks on models, data and a session; `train` runs the first ones at its start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from opdkit.data.loss import Warns
from opdkit.data.problem import Message
from opdkit.data.rollout import Rollout
from opdkit.doctor.alignment import alignment
from opdkit.doctor.masks import masks
from opdkit.doctor.report import Section, verdict
from opdkit.doctor.sampling import Setting, sampling
from opdkit.doctor.sides import Pair, Side
from opdkit.doctor.special_tokens import special_tokens
from opdkit.doctor.splits import splits
from opdkit.doctor.step_profile import StepProfile
from opdkit.doctor.templates import templates
from opdkit.doctor.vocabulary import vocabulary
from opdkit.errors import UserError
from opdkit.evaluation import same_answers
from opdkit.masking import EntropySelected, FirstOccurrence, Masking, NamesStrings, NoMask, SpecialSpans, Vocabularies
from opdkit.models import ModelSpec, load_skeleton
from opdkit.tasks import ProblemSource
from opdkit.teachers import OpenRetokenizedTeacher, RetokenizedTeacher
from opdkit.training.experiment import Experiment
from opdkit.training.session import Session, open_session
from opdkit.training.sources import AnswerSource, StepSize, Writer
from opdkit.training.tasks import TaskRun

_SAMPLES = 8
_RULES: Mapping[str, Masking] = {
    "none": NoMask(),
    "first_occurrence": FirstOccurrence(),
    "special_spans": SpecialSpans(),
    "entropy": EntropySelected(),
}


@dataclass(frozen=True)
class DoctorRun:
    """experiment: the run to check; masking: the name of its masking option; stage: callback for the current stage;
    measures: take a real step at the end and compare it with the cost estimate."""

    experiment: Experiment
    masking: str
    stage: Callable[[str], None]
    measures: bool = False

    def sections(self) -> Iterator[Section]:
        """Yields each check's section as soon as it is known. Ends after a finding that forbids a run.

        Raises UserError for what `train` refuses before it compares the models.
        """
        self.stage("loading tokenizers and data")
        task = self.experiment.task
        if not isinstance(task, ProblemSource):
            raise UserError("doctor checks a single task with problems: choose another task=")
        messages = task.load()[0].messages
        pair = self._pair()
        retokenized = isinstance(self.experiment.teacher, RetokenizedTeacher)
        # A retokenized teacher has its own ids, special tokens and template: none need to agree.
        found = [] if retokenized else list(first_look(pair, messages, self.experiment.masking))
        yield from found
        if verdict(found) == "stop":
            return
        self.stage("loading models")
        session = open_session(self.experiment, None)
        self.stage("generating a few rollouts")
        rollout = self._samples(session)
        self.stage("looking at them")
        responses = [tokens[mask].tolist() for tokens, mask in zip(rollout.tokens, rollout.sampled_mask, strict=True)]
        task = _task(session)
        if isinstance(task.teacher, OpenRetokenizedTeacher):
            yield alignment(pair, responses, task.teacher.shared_mass(rollout))
        else:
            yield from self._compared(session, pair, rollout, responses)
        yield from self._costs(StepProfile(session, task, self.experiment))

    def _compared(
        self, session: Session, pair: Pair, rollout: Rollout, responses: Sequence[Sequence[int]]
    ) -> Iterator[Section]:
        """The checks of a teacher that shares the student's ids."""
        yield splits(pair, responses, strings_of(self.experiment.masking))
        vocabularies = Vocabularies(pair.student.tokenizer, pair.teacher.tokenizer)
        yield masks(rollout, vocabularies, {**_RULES, self.masking: self.experiment.masking}, self.masking)
        setting = Setting(self.experiment.sampler, self.experiment.temperature, self.experiment.objective.needs.k)
        task = _task(session)
        if task.teacher is not None:
            yield sampling(session.policy, task.teacher, rollout, setting)

    def _costs(self, costing: StepProfile) -> Iterator[Section]:
        self.stage("timing a few rollouts")
        section, guess = costing.estimated()
        yield section
        if self.measures and guess is not None:
            self.stage("taking a real step")
            yield costing.measured(guess)

    def _pair(self) -> Pair:
        teacher = self.experiment.teacher
        teacher = teacher.inner if isinstance(teacher, RetokenizedTeacher) else teacher
        spec = teacher if isinstance(teacher, ModelSpec) else self.experiment.model
        return Pair(Side.of(load_skeleton(self.experiment.model, "model")), Side.of(load_skeleton(spec, "teacher")))

    def _samples(self, session: Session) -> Rollout:
        collector = _task(session).collector
        size = StepSize(min(self.experiment.batch.rollouts, _SAMPLES), 1)
        source = collector.source.restarted(size, self.experiment.seed)
        writer = Writer("student", self.experiment.rollout.in_process().open(session.policy.model))
        return source.take(0, [writer])["student"].rollout


def first_look(pair: Pair, messages: Sequence[Message], masking: Masking) -> Iterator[Section]:
    """The checks that need only tokenizers and settings, within a second. messages: a prompt of the task."""
    yield vocabulary(pair)
    yield special_tokens(pair, strings_of(masking))
    yield templates(pair, messages)


def warnings_at_start(experiment: Experiment, session: Session) -> list[str]:
    """The warnings that `train` prints before its first step."""
    objective = experiment.objective
    told: dict[str, None] = dict.fromkeys(objective.warnings if isinstance(objective, Warns) else ())
    for task in session.tasks.values():
        benchmark = task.settings.benchmark
        if warning := same_answers(benchmark.sampler, benchmark.n_samples):
            told[warning] = None
        if task.teacher is None:
            continue
        student = session.policy.model
        pair = Pair(Side.of(student), Side(task.teacher.name, task.teacher.tokenizer, stop_ids=task.teacher.stop_ids))
        source = task.collector.source  # games have no prompt before they start
        messages = source.stream.first.messages if isinstance(source, AnswerSource) else (Message("user", "Hello."),)
        found = first_look(pair, messages, experiment.masking)
        notes = [note for section in found for note in section.notes if note.level != "ok"]
        told |= {f"{note.text} (set: {note.advice})" if note.advice else note.text: None for note in notes}
    if not session.policy.model.drops_rows:
        told[
            "finished rows stay in the batch until all are done: the student's modules have state that can't be cut"
        ] = None
    return list(told)


def _task(session: Session) -> TaskRun:
    """The task of a single-task run."""
    return next(iter(session.tasks.values()))


def strings_of(masking: Masking) -> Sequence[str]:
    """The strings that a masking rule masks."""
    return masking.strings if isinstance(masking, NamesStrings) else ()
