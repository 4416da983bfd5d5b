"""Trains two teachers per seed, each on its own task by REINFORCE."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from opdkit.functional.estimators import reward_to_go, score_function
from opdkit.study.control.policy import Policies, Walk, initial, normal_noise, optimizer, walk
from opdkit.study.control.settings import TASKS, Body, Episode, Learning, Task

OnStep = Callable[[int, int], None]


def train_teachers(
    body: Body, seeds: Sequence[int], episode: Episode, learning: Learning, effort: float, on_step: OnStep
) -> Policies:
    """R = tasks x seeds policies: all seeds of the left task, then all of the right.

    The advantage is the undiscounted reward to go, standardised over the batch at each step.
    """
    tasks = [task for task in TASKS for _ in seeds]
    parts = [initial(body, seeds, f"teacher {task.name}") for task in TASKS]
    policies = Policies(
        body,
        tuple(torch.cat(group) for group in zip(*(part.weights for part in parts), strict=True)),
        tuple(torch.cat(group) for group in zip(*(part.biases for part in parts), strict=True)),
    ).trained()
    update = optimizer(learning, policies)
    for iteration in range(1, learning.iterations + 1):
        noise = torch.cat([
            normal_noise(seeds, f"teacher {task.name}", iteration, episode.trajectories, episode.steps)
            for task in TASKS
        ])  # fmt: skip
        walked = walk(policies, tasks, noise)
        to_go = reward_to_go(rewards(walked, tasks, effort), 1.0)
        centred = to_go - to_go.mean(1, keepdim=True)
        advantage = centred / (to_go.std(1, keepdim=True, unbiased=False) + 1e-6)
        output = policies.output(policies.hidden(walked.observation.flatten(1, 2)))
        log_prob = policies.log_prob(output, walked.move.flatten(1))
        loss = score_function(log_prob, advantage.flatten(1)).sum() / episode.trajectories
        update.zero_grad()
        loss.backward()
        update.step()
        on_step(iteration, learning.iterations)
    return policies


def rewards(walked: Walk, tasks: Sequence[Task], effort: float) -> Tensor:
    """-|x_{t+1} - goal| - effort delta_t^2, f32[R, B, T].

    Without effort the optimal walk is one jump. With it, distance d falls as (sqrt(d) - t / (2 sqrt(effort)))^2 where
    time is continuous: a distance of 5 takes 2 sqrt(5 effort) steps.
    """
    goal = torch.tensor([task.goal for task in tasks])[:, None, None]
    return -(walked.position[..., 1:] - goal).abs() - effort * walked.move.square()
