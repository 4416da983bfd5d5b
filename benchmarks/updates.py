"""opdkit's update phase and whole step, as in `opdkit train`."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks import objectives
from benchmarks.meter import Effort, Meter, run_steps
from benchmarks.models import BareTokenizer, batch_of, student_and_teacher
from benchmarks.shapes import UpdateShape
from opdkit import device
from opdkit.data.loss import Objective
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Problem
from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.scores import Scores
from opdkit.diagnostics import TokenMeans, Watched
from opdkit.generation import Ask, HFRollout, Sampling, Turn, pack
from opdkit.masking import NoMask
from opdkit.models import LanguageModel, Scorer
from opdkit.objectives import TokenMean
from opdkit.rewards import TaskReward
from opdkit.samplers import Ancestral
from opdkit.teachers import OpenLocalTeacher
from opdkit.training.optimizer import AdamW
from opdkit.training.policy import Policy
from opdkit.training.requests import before_request, teacher_request
from opdkit.training.term import BoundTerm
from opdkit.training.update import ScoredBatch, Updater
from opdkit.world.world import World


@dataclass(frozen=True)
class _Session:
    """Both models and the student's updater."""

    student: LanguageModel
    teacher: OpenLocalTeacher
    updater: Updater
    term: BoundTerm
    lr: float

    def update(self, rollout: Rollout) -> float:
        """The update phase on a rollout: both models' scores, student forward, backward, clipping, AdamW."""
        mask, needs = rollout.sampled_mask, self.term.objective.needs
        scores = self.teacher.score(rollout, mask, teacher_request(needs, self._before(rollout), 0))
        self.student.module.train()
        batch = ScoredBatch(self.term, 1.0, rollout, mask, scores, None, None, None, 0)
        return self.updater.step([batch], self.lr, TokenMeans())["loss"]

    @torch.no_grad()
    def _before(self, rollout: Rollout) -> Scores | None:
        request = before_request(self.term.objective.needs, old=False)
        return None if request is None else Scorer(self.student)(rollout, rollout.sampled_mask, request, 1.0)


def topk_update(shape: UpdateShape, effort: Effort) -> Meter:
    """The teacher's top K, streamed."""
    return _updates(shape, effort, objectives.topk(shape.k))


def student_bucket_update(shape: UpdateShape, effort: Effort) -> Meter:
    """The student's top K, found in a separate pass, and a tail bucket."""
    return _updates(shape, effort, objectives.student_bucket(shape.k))


def sampled_update(shape: UpdateShape, effort: Effort) -> Meter:
    """The sampled token."""
    return _updates(shape, effort, objectives.sampled(shape.k))


def full_update(shape: UpdateShape, effort: Effort) -> Meter:
    """The whole vocabulary."""
    return _updates(shape, effort, objectives.full(shape.k))


def topk_step(shape: UpdateShape, effort: Effort) -> Meter:
    """Whole steps: the student generates a response to each prompt and is updated on it."""
    session = _session(shape, objectives.topk(shape.k))
    prompts = [tuple(row) for row in batch_of(shape).prompt.tolist()]
    settings = HFRollout(max_new_tokens=shape.response, max_prompt_tokens=shape.prompt, batch_size=shape.batch)
    engine = settings.open(session.student)
    asks = [Ask(ids, seed, shape.response) for seed, ids in enumerate(prompts)]

    def step() -> float:
        completions = engine.generate(asks, Sampling(1.0, Ancestral(), entropy=False))
        rows = [(Turn(ask.prompt_ids, one),) for ask, one in zip(asks, completions, strict=True)]
        return session.update(pack(session.student, rows, [Problem("", (), "")] * len(rows)))

    meter = Meter(session.student.module.parameters, effort)
    run_steps(meter, step)
    return meter


def _updates(shape: UpdateShape, effort: Effort, objective: Objective) -> Meter:
    """Updates on one given batch."""
    session, rollout = _session(shape, objective), _rollout(shape)
    meter = Meter(session.student.module.parameters, effort)
    run_steps(meter, lambda: session.update(rollout))
    return meter


def _session(shape: UpdateShape, objective: Objective) -> _Session:
    student_module, teacher_module = student_and_teacher(shape)
    tokenizer = BareTokenizer()
    student = LanguageModel(student_module, tokenizer, "student", shape.vocabulary)
    theirs = LanguageModel(teacher_module, tokenizer, "teacher", shape.vocabulary)
    accelerator, spec = device.accelerator(shape.precision), AdamW(lr=1e-5)
    policy = Policy.of(student, spec, accelerator, 1.0)
    updater = Updater(policy, World(), spec.clip_norm, MicroBatch(shape.batch), Watched())
    term = BoundTerm("student", objective, "student", None, TaskReward(), NoMask(), TokenMean(), 1.0, 1)
    return _Session(student, OpenLocalTeacher(theirs, 1.0, MicroBatch(shape.batch)), updater, term, spec.lr)


def _rollout(shape: UpdateShape) -> Rollout:
    batch = batch_of(shape)
    nothing = torch.zeros(batch.response.shape, device=batch.response.device)
    return Rollout(
        prompts=Prompts(batch.prompt, torch.ones_like(batch.prompt, dtype=torch.bool), ()),
        tokens=batch.response,
        sampled_mask=torch.ones_like(batch.response, dtype=torch.bool),
        behaviour_log_prob=nothing,
        entropy=nothing,
        stop_reason=("length",) * shape.batch,
    )
