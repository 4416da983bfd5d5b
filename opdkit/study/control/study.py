"""Runs the control study and writes its page."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import torch
from torch import Tensor

from opdkit.study.control.findings import Results, claims, tables
from opdkit.study.control.policy import Policies, normal_noise, unpack, walk
from opdkit.study.control.settings import TASKS, Activation, Body, Episode, Learning, Optimizer
from opdkit.study.control.students import Distillation
from opdkit.study.control.teachers import train_teachers
from opdkit.study.outcome import Outcome
from opdkit.study.settings import check_gammas, check_seeds, require
from opdkit.study.workshop import Piece, Workshop


@dataclass(frozen=True)
class ControlStudy:
    """1-D control: x <- x + delta, delta ~ N(mu, sigma) of a policy that sees task, position and time.

    gammas: must include 0 and 1. iterations, trajectories, micro_batches, steps: of the students and an episode. The
    rest is what the paper leaves open: hidden width and activation; bounds of sigma; for teachers and students the
    optimiser, learning rate and, for teachers, iterations; effort, the weight of a move's square in the teachers'
    reward; success_radius, how close to the goal an episode must end; evaluation_trajectories, episodes per evaluation.
    Lengths and sigma are in units of the line. Raises UserError for a value out of range.
    """

    gammas: list[float]
    seeds: list[int]
    iterations: int
    trajectories: int
    micro_batches: int
    steps: int
    hidden: int
    activation: Activation
    std_min: float
    std_max: float
    optimizer: Optimizer
    lr: float
    teacher_iterations: int
    teacher_optimizer: Optimizer
    teacher_lr: float
    effort: float
    success_radius: float
    evaluation_trajectories: int

    def __post_init__(self) -> None:
        check_seeds(self.seeds)
        check_gammas(self.gammas)
        require({0.0, 1.0} <= set(self.gammas), "gammas", self.gammas, "a list that includes 0 and 1")
        for name in ("trajectories", "steps", "hidden", "teacher_iterations", "evaluation_trajectories"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.iterations >= 4, "iterations", self.iterations, "at least 4: two per task in each half")
        require(self.micro_batches >= 2, "micro_batches", self.micro_batches, "at least 2")
        divides = self.trajectories % self.micro_batches == 0
        require(divides, "micro_batches", self.micro_batches, f"a divisor of study.trajectories={self.trajectories}")
        for name in ("std_min", "lr", "teacher_lr", "success_radius"):
            require(0.0 < getattr(self, name) < float("inf"), name, getattr(self, name), "a finite number above 0")
        require(self.std_min <= self.std_max < float("inf"), "std_max", self.std_max, "finite, at least study.std_min")
        require(0.0 <= self.effort < float("inf"), "effort", self.effort, "finite, at least 0")
        for name, kind in (("activation", Activation), ("optimizer", Optimizer), ("teacher_optimizer", Optimizer)):
            require(getattr(self, name) in get_args(kind), name, getattr(self, name), " or ".join(get_args(kind)))

    @property
    def body(self) -> Body:
        return Body(self.hidden, self.activation, self.std_min, self.std_max)

    @property
    def episode(self) -> Episode:
        return Episode(self.steps, self.trajectories, self.micro_batches)

    def work_out(self, workshop: Workshop) -> Outcome:
        from opdkit.study.control.figures import draw

        workshop.reporter.stage(f"teachers: {len(TASKS)} tasks x {len(self.seeds)} seeds")
        teachers = unpack(self.body, workshop.piece("teachers", lambda: self._teachers(workshop)))
        workshop.reporter.stage(f"students: {len(self.gammas)} gammas x {len(self.seeds)} seeds")
        numbers = workshop.piece("students", lambda: self._students(teachers, workshop))
        results = Results(self.gammas, self.seeds, self.success_radius, numbers)
        return Outcome(
            "1-D control: the variance of g_γ and its effect on a student",
            self._opening(),
            claims(results),
            tables(results),
            draw(results),
            self._limits(),
        )

    def _teachers(self, workshop: Workshop) -> Piece:
        learning = Learning(self.teacher_iterations, self.teacher_optimizer, self.teacher_lr)

        def report_step(step: int, total: int) -> None:
            workshop.reporter.step(step, total, {})

        return train_teachers(self.body, self.seeds, self.episode, learning, self.effort, report_step).pack()

    def _students(self, teachers: Policies, workshop: Workshop) -> Piece:
        learning = Learning(self.iterations, self.optimizer, self.lr)

        def report_step(step: int, total: int) -> None:
            workshop.reporter.step(step, total, {})

        students, numbers = Distillation(teachers, self.seeds, self.gammas, self.episode, learning).run(report_step)
        return numbers | {
            "student_positions": self._walks(students, len(self.gammas)),
            "teacher_positions": self._teacher_walks(teachers),
        }

    def _walks(self, policies: Policies, copies: int) -> Tensor:
        """Evaluation walks of every student on both tasks, f32[tasks, gammas, seeds, N, steps + 1]."""
        positions = []
        for task in TASKS:
            noise = normal_noise(self.seeds, f"evaluation {task.name}", 0, self.evaluation_trajectories, self.steps)
            position = walk(policies, [task] * copies * len(self.seeds), noise.repeat(copies, 1, 1)).position
            positions.append(position.unflatten(0, (copies, len(self.seeds))))
        return torch.stack(positions)

    def _teacher_walks(self, teachers: Policies) -> Tensor:
        """The same for each teacher on its own task, f32[tasks, 1, seeds, N, steps + 1]."""
        count = len(self.seeds)
        own = [teachers.taken(torch.arange(i * count, (i + 1) * count)) for i in range(len(TASKS))]
        return torch.stack([self._walks(policies, 1)[i] for i, policies in enumerate(own)])

    def _opening(self) -> str:
        stated = ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self) if f.name not in _IN_THE_PAPER)
        return (
            f"Seeds {', '.join(map(str, self.seeds))}; γ in {', '.join(f'{g:g}' for g in self.gammas)}; {self.steps} "
            f"steps per episode; {self.iterations} iterations, left (start +2, goal −3) on odd ones, right (start −2, "
            f"goal +3) on even ones; {self.trajectories} trajectories in {self.micro_batches} micro-batches; three "
            f"linear layers, {self.body.parameters} parameters. Two teachers per seed, by REINFORCE on "
            "−|x − goal| − effort · δ² after each move, with the undiscounted reward to go, whitened over the batch "
            "at each step. A seed's students start identical and see the same noise at every γ. Variance: "
            f"(1/M) Σ_m |g_m − g|² of the output layer's gradient. Settings not stated in the paper: {stated}. "
            "Intervals are 95 % t-intervals over seeds; with three seeds they are wide."
        )

    def _limits(self) -> list[str]:
        return [
            "The paper's code is not published, and the paper states neither the teachers' reward nor the optimiser, "
            "widths, learning rates or bounds of sigma: whether a claim holds here depends on these settings.",
            "During training the students differ as well as the estimators. The second variance figure compares them "
            "on the same rollouts, where only γ differs.",
            "A density's log-ratio is unbounded and sigma is bounded below, so a single move far from the teacher's "
            "costs thousands of nats. A language model's log-ratios are less extreme.",
        ]


_IN_THE_PAPER = ("gammas", "seeds", "iterations", "trajectories", "micro_batches", "steps")
