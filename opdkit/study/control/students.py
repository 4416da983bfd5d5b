"""Trains one shared student for both tasks by alternating distillation, for every seed and gamma at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.functional.estimators import reward_to_go, score_function
from opdkit.study.control.policy import Policies, initial, normal_noise, optimizer, walk
from opdkit.study.control.settings import TASKS, Episode, Learning, Task

SAME_POLICY_EVERY = 10
"""Iterations between measurements of all gammas on the rollouts of the gamma = 0 students."""

EVALUATE_EVERY = 50
"""Iterations between evaluations of where the students' episodes end."""

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Distillation:
    """R = gammas x seeds students, all seeds of the first gamma first. A seed has the same initialisation and the
    same noise at every gamma. `teachers` are tasks x seeds, as `train_teachers` gives them."""

    teachers: Policies
    seeds: Sequence[int]
    gammas: Sequence[float]
    episode: Episode
    learning: Learning

    def run(self, on_step: OnStep) -> tuple[Policies, dict[str, Tensor]]:
        """The students, and by name: variance f64[iterations, gammas, seeds], each student's own;
        same_policy f64[measured, gammas, seeds], of every gamma on the gamma = 0 student's rollouts;
        ends f32[evaluations, tasks, gammas, seeds, B], where episodes end after every 50 iterations;
        skipped i64[gammas, seeds], updates skipped because a gradient was not finite."""
        runs = len(self.gammas) * len(self.seeds)
        every = torch.arange(len(self.seeds)).repeat(len(self.gammas))
        students = initial(self.teachers.body, self.seeds, "student").taken(every).trained()
        update = optimizer(self.learning, students)
        variance, same_policy, ends = [], [], []
        skipped = torch.zeros(runs, dtype=torch.int64)
        for iteration in range(1, self.learning.iterations + 1):
            batch = self._batch(students, TASKS[(iteration + 1) % 2], iteration)
            cost = torch.cat([
                reward_to_go(ratio, gamma)
                for ratio, gamma in zip(batch.ratio.chunk(len(self.gammas)), self.gammas, strict=True)
            ])  # fmt: skip
            variance.append(micro_batch_variance(batch.output_gradient(cost), self.episode.micro_batches))
            if (iteration - 1) % SAME_POLICY_EVERY < len(TASKS):
                same_policy.append(self._on_the_same_rollouts(batch))
            loss = score_function(batch.log_prob, -cost).sum() / self.episode.trajectories
            update.zero_grad()
            loss.backward()
            skipped += leave_out_non_finite(students)
            update.step()
            if iteration % EVALUATE_EVERY == 0:
                ends.append(self._ends(students))
            on_step(iteration, self.learning.iterations)
        shape = (-1, len(self.gammas), len(self.seeds))
        return students, {
            "variance": torch.stack(variance).view(shape),
            "same_policy": torch.stack(same_policy).view(shape),
            "ends": torch.stack(ends) if ends else torch.zeros(0, len(TASKS), *shape[1:], self.episode.trajectories),
            "skipped": skipped.view(shape[1:]),
        }

    def _ends(self, students: Policies) -> Tensor:
        """f32[tasks, gammas, seeds, B], with the same noise at every evaluation."""
        parts = []
        for task in TASKS:
            noise = normal_noise(self.seeds, f"look {task.name}", 0, self.episode.trajectories, self.episode.steps)
            walked = walk(students, [task] * len(students.biases[0]), noise.repeat(len(self.gammas), 1, 1))
            parts.append(walked.position[..., -1].unflatten(0, (len(self.gammas), len(self.seeds))))
        return torch.stack(parts)

    def _batch(self, students: Policies, task: Task, iteration: int) -> Batch:
        """Rollouts of every student, scored by both models."""
        size, steps = self.episode.trajectories, self.episode.steps
        noise = normal_noise(self.seeds, f"student {task.name}", iteration, size, steps)
        walked = walk(students, [task] * len(students.biases[0]), noise.repeat(len(self.gammas), 1, 1))
        observation, move = walked.observation.flatten(1, 2), walked.move.flatten(1)
        first = TASKS.index(task) * len(self.seeds)
        own = (first + torch.arange(len(self.seeds))).repeat(len(self.gammas))
        teacher = self.teachers.taken(own)
        with torch.no_grad():
            log_q = teacher.log_prob(teacher.output(teacher.hidden(observation)), move)
        hidden = students.hidden(observation)
        output = students.output(hidden)
        log_prob = students.log_prob(output, move)
        (score,) = torch.autograd.grad(log_prob.sum(), output, retain_graph=True)
        shape = walked.move.shape
        ratio = (log_prob.detach() - log_q).view(shape)
        return Batch(log_prob.view(shape), ratio, score.view(*shape, 2), hidden.detach().view(*shape, -1))

    def _on_the_same_rollouts(self, batch: Batch) -> Tensor:
        """Variance of each gamma's estimator where only gamma differs, f64[gammas x seeds]."""
        first = self.gammas.index(0.0) * len(self.seeds)
        own = batch.of(slice(first, first + len(self.seeds)))
        parts = [own.output_gradient(reward_to_go(own.ratio, gamma)) for gamma in self.gammas]
        return torch.cat([micro_batch_variance(gradient, self.episode.micro_batches) for gradient in parts])


@dataclass(frozen=True)
class Batch:
    """log_prob f32[R, B, T], with gradient; ratio f32[R, B, T], log pi - log q; score f32[R, B, T, 2], the gradient of
    log_prob in the output layer's two outputs; hidden f32[R, B, T, H], the output layer's input."""

    log_prob: Tensor
    ratio: Tensor
    score: Tensor
    hidden: Tensor

    def of(self, runs: slice) -> Batch:
        return Batch(self.log_prob[runs], self.ratio[runs], self.score[runs], self.hidden[runs])

    def output_gradient(self, cost: Tensor) -> Tensor:
        """sum_t cost_t d log pi / d (output layer's weights and bias) of each trajectory, f32[R, B, 2 (H + 1)]."""
        inputs = torch.cat([self.hidden, torch.ones_like(self.hidden[..., :1])], -1)
        return torch.einsum("rbt,rbto,rbth->rboh", cost, self.score, inputs).flatten(2)


def micro_batch_variance(gradient: Tensor, micro_batches: int) -> Tensor:
    """(1/M) sum_m |g_m - g|^2 with g_m the mean over micro-batch m's trajectories, g theirs (App. E).

    gradient f32[R, B, P], one per trajectory. Returns f64[R].
    """
    by_part = gradient.double().unflatten(1, (micro_batches, -1)).mean(2)
    return (by_part - by_part.mean(1, keepdim=True)).square().sum(2).mean(1)


def leave_out_non_finite(policies: Policies) -> Tensor:
    """Zeroes all gradients of a policy if one is not finite. Returns i64[R], 1 for such a policy."""
    gradients = [tensor.grad for tensor in policies.tensors if tensor.grad is not None]
    finite = torch.stack([gradient.flatten(1).isfinite().all(1) for gradient in gradients]).all(0)
    if not finite.all():
        for gradient in gradients:
            gradient[~finite] = 0.0
    return (~finite).long()
