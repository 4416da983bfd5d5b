"""A batch small enough to know whole, and an objective asked the way the loop asks it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.loss import Objective, StepBatch, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.heads import Head
from opdkit.models.scorer import Request, score_hidden
from opdkit.training.requests import before_request, student_request, teacher_request

B, T, V, K = 3, 4, 7, 3


@dataclass(frozen=True)
class World:
    """student, teacher f64[B, T, V] logits; tokens i64[B, T]; mask bool[B, T]; reward f64[B]; entropy f64[B, T].

    before: the student that wrote, where it is not `student` itself.
    """

    student: Tensor
    teacher: Tensor
    tokens: Tensor
    mask: Tensor
    reward: Tensor
    before: Tensor | None = None

    @property
    def old(self) -> Tensor:
        return (self.student if self.before is None else self.before).detach()

    @property
    def entropy(self) -> Tensor:
        log_prob = self.old.log_softmax(-1)
        return -(log_prob.exp() * log_prob).sum(-1)


def make_world(seed: int = 0, spread: float = 1.5) -> World:
    """Ragged rows with a hole, as masking leaves one; every token sampled from the student."""
    source = torch.Generator().manual_seed(seed)
    student, teacher = (spread * torch.randn(2, B, T, V, dtype=torch.float64, generator=source)).unbind()
    tokens = torch.multinomial(student.softmax(-1).flatten(0, 1), 1, generator=source).view(B, T)
    mask = torch.arange(T) < torch.tensor([4, 2, 3])[:, None]
    mask[0, 1] = False
    reward = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    return World(student.requires_grad_(), teacher, tokens, mask, reward)


def score(logits: Tensor, world: World, request: Request) -> Scores:
    """Through the real heads: the logits are hidden states, and lm_head is the identity."""
    place = world.mask.nonzero(as_tuple=True)
    eye = torch.eye(logits.shape[-1], dtype=logits.dtype)
    return score_hidden(logits[place], Head(eye), world.tokens, place, request, 1.0)


def ask(objective: Objective, world: World) -> TokenLoss:
    """The objective's token losses, with the requests that the loop makes of both models."""
    needs = objective.needs
    with torch.no_grad():
        wanted = before_request(needs, needs.old_log_prob or needs.advantage)
        before = None if wanted is None else score(world.old, world, wanted)
        asked = needs.teacher is not None
        teacher = score(world.teacher, world, teacher_request(needs, before, 0)) if asked else Scores()
        old = None if before is None else before.sampled_log_prob
        step = StepBatch(world.mask, old, teacher.sampled_log_prob, world.reward, torch.tensor([0, 0, 1]))
        advantage = objective.advantage(step) if needs.advantage else None  # type: ignore[attr-defined]
    student = score(world.student, world, student_request(needs, teacher, 0))
    kept = None if world.before is None else old
    batch = TokenBatch(world.mask, kept, world.reward, world.tokens, world.entropy, advantage)
    return objective(student, teacher, batch)
