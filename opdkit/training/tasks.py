"""Opens a task of a run: its data, teachers, rewards and rollout writers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Author
from opdkit.environments import EnvironmentPool, EnvironmentSource, Episode
from opdkit.errors import UserError, error_prefix
from opdkit.evaluation import Benchmark, EpisodeBenchmark
from opdkit.generation import Engine, EngineSpec, EpisodeRollout, Sampling
from opdkit.models import ChatFrame, LanguageModel
from opdkit.rewards import RewardContext, asks_teacher
from opdkit.rewards.base import GradePairs
from opdkit.seeding import derive_seed
from opdkit.tasks import ProblemSource
from opdkit.teachers import OpenTeacher, Teacher
from opdkit.training.asked_teacher import WritingTeacher, open_rewards
from opdkit.training.candidates import CandidateWriter
from opdkit.training.collect import CollectSettings, RolloutCollector
from opdkit.training.episodes import EpisodeSource
from opdkit.training.policy import Policy
from opdkit.training.problems import EpochSampler, ProblemStream
from opdkit.training.sources import AnswerSource, RolloutSource, StepSize, Writer
from opdkit.training.term import BoundTerm
from opdkit.training.writing import WHOLE, Writing


@dataclass(frozen=True)
class TaskSettings:
    """The configuration of one task of a run.

    Attributes:
        name: the prefix of its metrics, empty for a single task.
        source: problems, or an environment.
        teacher: None for no teacher.
        rollout: the engine for generation, with its limits.
        benchmark: the benchmark that the models are evaluated on.
        size: the size of a step.
        terms: the method's terms, with the task's teacher.
        sampling: sampling settings of the rollouts.
        seed: the seed of the order of problems and of sampling.
        writing: schedules of the response length and prefix.
    """

    name: str
    source: ProblemSource | EnvironmentSource
    teacher: Teacher | None
    rollout: EngineSpec
    benchmark: Benchmark | EpisodeBenchmark
    size: StepSize
    terms: tuple[BoundTerm, ...]
    sampling: Sampling
    seed: int
    writing: Writing = WHOLE


@dataclass(frozen=True)
class Problems:
    """The data of a single-turn task.

    Attributes:
        source: provides the problems and grades the answers.
        rows: the problems.
    """

    source: ProblemSource
    rows: Sequence[Problem]


@dataclass(frozen=True)
class Games:
    """The data of a multi-turn task.

    Attributes:
        source: the environment.
        rows: the episodes.
    """

    source: EnvironmentSource
    rows: Sequence[Episode]


@dataclass(frozen=True)
class TaskRun:
    """A task with loaded models. `teacher` is None if no term needs one."""

    settings: TaskSettings
    teacher: OpenTeacher | None
    collector: RolloutCollector


def read_data(task: TaskSettings) -> Problems | Games:
    """The task's problems or episodes. Also checks its benchmark. Raises UserError for unreadable data."""
    with error_prefix(f"task.parts.{task.name}.source." if task.name else "task."):
        source = task.source
        environment = isinstance(source, EnvironmentSource)
        data = Games(source, source.episodes()) if environment else Problems(source, source.load())
    for term in task.terms:
        _require_data(term, task, data)
    task.benchmark.problems()
    return data


def teacher_names(task: TaskSettings) -> str:
    """The distinct paths of the teachers of the task's terms."""
    names = dict.fromkeys(term.teacher.path for term in task.terms if term.teacher is not None)
    return ", ".join(names) or "none"


def _require_data(term: BoundTerm, task: TaskSettings, data: Problems | Games) -> None:
    """Raises UserError if the task can't provide what the term needs, judged by the first problem."""
    alone = task.size.rollouts_per_prompt < 2
    for who, compares in (
        (term.objective, term.objective.needs.siblings),
        (term.curriculum, term.curriculum is not None),
    ):
        if compares and alone:
            raise UserError(
                f"batch.rollouts_per_prompt=1: {type(who).__name__} compares the rollouts of one prompt; "
                "allowed: at least 2"
            )
    _require_fields(term, task, data)
    if term.selection is not None and isinstance(data, Games):
        raise UserError(
            f"method.terms.{term.name}.selection: chooses among answers, and {task.source.name} is played in turns"
        )


def _require_fields(term: BoundTerm, task: TaskSettings, data: Problems | Games) -> None:
    """Raises UserError if the first problem lacks a field of the teacher's prompt."""
    term_name = f"method.terms.{term.name}: teacher={term.teacher.path if term.teacher is not None else 'none'}"
    reads = frozenset[str]() if term.teacher is None else term.teacher.capabilities.reads
    reads |= frozenset() if term.selection is None else term.selection.reads
    if not reads:
        return
    if isinstance(data, Games):
        raise UserError(f"{term_name} writes a prompt of its own, and {task.source.name} is played in turns")
    if "sibling" in reads and task.size.rollouts_per_prompt < 2:
        raise UserError(f"{term_name} is shown a {{sibling}}; batch.rollouts_per_prompt=1 must be at least 2")
    first = data.rows[0]
    for name in sorted(reads - {"sibling"}):
        if first.text(name) is None:
            has = sorted({"question", "answer", *first.context} - {"answer" if first.text("answer") is None else ""})
            raise UserError(
                f"{term_name} asks for {{{name}}}, and problem {first.identifier} of {task.source.name} has none; "
                f"allowed: {', '.join('{' + key + '}' for key in [*has, 'sibling'])}"
            )


def open_task(
    task: TaskSettings,
    data: Problems | Games,
    policy: Policy,
    teachers: Mapping[str, OpenTeacher],
    collect: CollectSettings,
    rewards: RewardContext,
) -> TaskRun:
    """Combine a task's data with the models. `teachers` holds the teacher of each term that has one."""
    student = policy.model
    source = _episodes(task, data, student) if isinstance(data, Games) else _answers(task, data.rows, student)
    writers = _writers(task, policy, teachers, collect, rewards.grade)
    opened = open_rewards(task.terms, rewards, _asked_teachers(task, teachers))
    whole = _who_write(task, policy, teachers)
    models = policy, source, writers, task.terms, teachers, opened, whole
    collector = RolloutCollector(task.name, collect, *models, task.rollout.correction)
    return TaskRun(task, next(iter(teachers.values()), None), collector)


def _writers(
    task: TaskSettings,
    policy: Policy,
    teachers: Mapping[str, OpenTeacher],
    collect: CollectSettings,
    grade: GradePairs | None,
) -> dict[Author, Writer]:
    """The writer of each author used by the terms."""
    spec = task.rollout
    writers: dict[Author, Writer] = {}
    for term in task.terms:
        if term.author in writers:
            continue
        if term.author != "teacher":
            writers[term.author] = Writer(term.author, spec.open(policy.model) if term.author == "student" else None)
            continue
        written = teachers[term.name].writer(spec)
        assert written is not None  # bind_terms checks the capability
        select = None
        if term.selection is not None:
            assert grade is not None  # read_data rejects environments
            select = CandidateWriter(
                term.selection, written[0], policy, grade, task.seed, collect.micro_batch, spec.max_prompt_tokens,
                spec.max_new_tokens,
            )  # fmt: skip
        writers["teacher"] = Writer("teacher", written[0], select)
    if task.writing.prefix is not None and "student" in writers:
        writers["student"] = replace(writers["student"], guide=_guide(task, teachers))
    return writers


def _who_write(task: TaskSettings, policy: Policy, teachers: Mapping[str, OpenTeacher]) -> tuple[LanguageModel, ...]:
    """The models in this process that generate in a step: the student, and teachers that are authors or guides."""
    begins = task.writing.prefix is not None
    asked = [term.name for term in task.terms if begins or term.author == "teacher" or asks_teacher(term.reward)]
    written = [teachers[name].writer(task.rollout) for name in asked if name in teachers]
    models = [policy.model, *(found[1] for found in written if found is not None)]
    return tuple({id(model.module): model for model in models}.values())


def _asked_teachers(task: TaskSettings, teachers: Mapping[str, OpenTeacher]) -> dict[str, WritingTeacher]:
    """The teacher of each term whose reward needs its answers; terms with the same teacher share one."""
    by_teacher: dict[int, WritingTeacher] = {}
    writers: dict[str, WritingTeacher] = {}
    for term in task.terms:
        if asks_teacher(term.reward):
            teacher = teachers[term.name]
            if id(teacher) not in by_teacher:
                by_teacher[id(teacher)] = WritingTeacher.of(teacher, task.rollout, task.sampling)
            writers[term.name] = by_teacher[id(teacher)]
    return writers


def written_by(run: TaskRun, policy: Policy) -> RolloutCollector:
    """The task's collector with another policy as the student."""
    collector, spec = run.collector, run.settings.rollout

    def with_policy(writer: Writer) -> Writer:
        select = None if writer.select is None else replace(writer.select, policy=policy)
        engine = spec.open(policy.model) if writer.author == "student" else writer.engine
        return replace(writer, engine=engine, select=select)

    writers = {author: with_policy(writer) for author, writer in collector.writers.items()}
    return replace(collector, policy=policy, writers=writers)


def _guide(task: TaskSettings, teachers: Mapping[str, OpenTeacher]) -> Engine:
    """The engine of the first teacher that can generate. Raises UserError if there is none."""
    for teacher in teachers.values():
        written = teacher.writer(task.rollout)
        if written is not None:
            return written[0]
    raise UserError(f"method.prefix: the teacher begins a response, and teacher={teacher_names(task)} writes none")


def _answers(task: TaskSettings, problems: Sequence[Problem], student: LanguageModel) -> RolloutSource:
    def render(problem: Problem) -> list[int]:
        return student.render(problem.messages)

    stream = ProblemStream(problems, render, task.rollout.max_prompt_tokens, task.seed)
    stream.require_one()
    limit = task.rollout.max_new_tokens
    return AnswerSource(task.size, task.seed, student, stream, task.sampling, limit, task.writing)


def _episodes(task: TaskSettings, games: Games, student: LanguageModel) -> RolloutSource:
    rollout, source = task.rollout, games.source
    assert isinstance(rollout, EpisodeRollout)  # checked in config.task_checks
    if task.writing != WHOLE:
        raise UserError(f"method.length and method.prefix are for answers, and {source.name} is played in turns")
    system = [] if source.system is None else [Message("system", source.system)]
    ChatFrame(student, [*system, Message("user", "You are in a room.")])  # raises for an unsuitable template now
    _check_positions(student, rollout)
    pool = EnvironmentPool(source, min(rollout.side_by_side, task.size.prompts * task.size.rollouts_per_prompt))
    sampler = EpochSampler(len(games.rows), task.seed)
    return EpisodeSource(task.size, task.seed, student, rollout, task.sampling, pool, games.rows, sampler)


def _check_positions(student: LanguageModel, rollout: EpisodeRollout) -> None:
    """Raises UserError if a chat could exceed the model's maximum length, beyond which it degrades."""
    asked = rollout.max_prompt_tokens + rollout.max_new_tokens
    if student.positions is not None and asked > student.positions:
        raise UserError(
            f"rollout.max_prompt_tokens={rollout.max_prompt_tokens} and rollout.max_new_tokens="
            f"{rollout.max_new_tokens}: together more than the {student.positions} positions of {student.name}"
        )


def task_seed(name: str, seed: int) -> int:
    """The seed of a task's order and sampling: the run's for a single task, else derived from the task's name."""
    return derive_seed(seed, "task", name) if name else seed
