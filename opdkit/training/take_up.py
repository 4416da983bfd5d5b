"""Decides how a run continues in its folder: from the start, from a checkpoint, or not at all if it is complete."""

from __future__ import annotations

from dataclasses import asdict

from opdkit.console.terminal import Reporter
from opdkit.errors import UserError
from opdkit.runs import checkpoint
from opdkit.runs.folder import RunFolder
from opdkit.training.experiment import Experiment


def take_up(experiment: Experiment, folder: RunFolder, reporter: Reporter, may_begin: bool) -> checkpoint.Found | None:
    """The checkpoint to resume from; None for a new or restarted run, and for a complete one."""
    if not experiment.resume:
        folder.require_new()
        return None
    if not folder.config.exists():
        raise UserError(f"resume=true, but run_dir={str(folder.path)!r} holds no run")
    folder.require_same_config(experiment.resolved)
    done, stopped = folder.steps_done(), folder.stopped_early()
    if done is not None and done >= experiment.steps:
        reporter.note(f"{folder.path} is complete: nothing is left to do")
        return None
    if stopped is not None and stopped["early_stop"] == asdict(experiment.early_stop):
        reporter.note(f"{folder.path} is complete: it stopped early, and early_stop is as it was")
        return None
    found = checkpoint.newest(folder.checkpoints)
    if found is None and may_begin and done is None and not any(folder.checkpoints.glob("step-*")):
        reporter.note("it ended before its first checkpoint: from the beginning")
        return None
    if found is None:
        why = "".join(f" ({fault})" for fault in checkpoint.faults(folder.checkpoints)[:1])
        raise UserError(f"resume=true, but there is no whole checkpoint in {str(folder.checkpoints)!r}{why}")
    for reason in found.damaged:
        reporter.note(f"passed over a damaged checkpoint, {reason}")
    reporter.note(f"going on from {found.folder.name}")
    if done is not None:
        first = int(found.state["step"])
        reporter.note(_extension(experiment, done, first) if stopped is None else _unstopped(experiment, done, first))
        folder.extend(experiment.resolved)
    return found


def _extension(experiment: Experiment, done: int, first: int) -> str:
    """The message for extending a finished run: its learning rate now follows the longer schedule."""
    optimizer, steps = experiment.optimizer, experiment.steps
    ended, goes_on = optimizer.lr_at(done - 1, done), optimizer.lr_at(first, steps)
    return (
        f"it was complete after {done} steps and now has {steps}; the learning rate ({optimizer.schedule}) was "
        f"{ended:.3g} at its last step and goes on at {goes_on:.3g}, as in a run of {steps}"
    )


def _unstopped(experiment: Experiment, done: int, first: int) -> str:
    """`_extension` for a run that was stopped early."""
    lr = experiment.optimizer.lr_at(first, experiment.steps)
    return (
        f"it had stopped early after {done} steps and now has up to {experiment.steps}; the learning rate goes on at "
        f"{lr:.3g}, as in a run of {experiment.steps}"
    )
