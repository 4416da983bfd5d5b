"""Our update phase: the teacher's scores, then the step that `opdkit train` takes on them."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from opdkit.bench.cases import UpdateShape
from opdkit.bench.meter import Meter, run_steps
from opdkit.bench.shapes import batch_of, student_and_teacher
from opdkit.diagnostics import TokenMeans
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.objectives import TokenDivergence, TokenMean
from opdkit.teachers import LoadedTeacher
from opdkit.training.optimizer import AdamW
from opdkit.training.update import ScoredBatch, Updater
from opdkit.types import Prompts, Rollout


class _PadsWithZero:
    """As much of a tokenizer as an update asks for."""

    pad_token_id = 0


def topk_update(shape: UpdateShape, count: int) -> Meter:
    """`count` updates on one batch: streamed teacher top-K, student forward, backward, clipping, AdamW."""
    student_module, teacher_module = student_and_teacher(shape)
    tokenizer = _PadsWithZero()
    student = LanguageModel(student_module, tokenizer, "student", shape.vocabulary)
    teacher = LoadedTeacher(LanguageModel(teacher_module, tokenizer, "teacher", shape.vocabulary))
    accelerator, spec = Accelerator(cpu=not torch.cuda.is_available()), AdamW(lr=1e-5)
    scorer, optimizer = accelerator.prepare(Scorer(student), spec.build(student_module.parameters()))
    updater = Updater(
        accelerator=accelerator,
        scorer=scorer,
        optimizer=optimizer,
        spec=spec,
        objective=TokenDivergence(k=shape.k, tail="renormalise"),
        aggregation=TokenMean(),
        temperature=1.0,
        micro_batch=shape.batch,
        watched=(),
    )
    rollout = _rollout(shape, student.device)

    def step() -> float:
        scores = teacher.score(rollout, rollout.mask, Request(top_k=shape.k), 1.0, shape.batch)
        batch = ScoredBatch(rollout, rollout.mask, scores, None, None, 0)
        return updater.step(batch, spec.lr, TokenMeans())["loss"]

    meter = Meter(student_module.parameters)
    run_steps(meter, step, count)
    return meter


def _rollout(shape: UpdateShape, device: torch.device) -> Rollout:
    batch = batch_of(shape)
    prompt, response = batch.prompt.to(device), batch.response.to(device)
    nothing = torch.zeros(response.shape, device=device)
    return Rollout(
        prompts=Prompts(prompt, torch.ones_like(prompt, dtype=torch.bool), ()),
        tokens=response,
        mask=torch.ones_like(response, dtype=torch.bool),
        behaviour_log_prob=nothing,
        entropy=nothing,
        stop_reason=("length",) * shape.batch,
    )
