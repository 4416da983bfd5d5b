"""The settings of the training loop."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.training.optimizer import AdamW


@dataclass(frozen=True)
class LoopSettings:
    """The run's settings for the training loop.

    Attributes:
        steps: the number of steps in the run.
        seed: the run's seed.
        optimizer: gives the learning rate of each step.
        mini_batches: mini-batches per step, with one update each.
        epochs: passes over a step's rollouts.
        eval_every: steps between evaluations, 0 for only before and after training.
        checkpoint_every: steps between checkpoints, 0 for only at the end.
        keep_checkpoints: the number of checkpoints to keep.
        max_bad_steps: consecutive non-finite steps that end the run, 0 for no limit.
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
