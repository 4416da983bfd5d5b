"""Defines the settings of the loop."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.training.optimizer import AdamW


@dataclass(frozen=True)
class LoopSettings:
    """What the loop must know of the run.

    Attributes:
        steps: of the whole run.
        seed: of the run.
        optimizer: tells the learning rate of each step.
        mini_batches: parts that a step's rollouts are divided into; each is one update.
        epochs: passes over a step's rollouts.
        eval_every: steps between evaluations, 0 for before and after only.
        checkpoint_every: steps between checkpoints, 0 for the end only.
        keep_checkpoints: how many are kept.
        max_bad_steps: non-finite steps in a row that end the run, 0 for no limit.
    """

    steps: int
    seed: int
    optimizer: AdamW
    mini_batches: int
    epochs: int
    eval_every: int
    checkpoint_every: int
    keep_checkpoints: int
    max_bad_steps: int
