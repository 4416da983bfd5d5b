"""`opdkit doctor`: checks models, teacher and task before a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.config.build import build_experiment
from opdkit.doctor.report import Section, verdict
from opdkit.doctor.view import ExaminationView
from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.training.experiment import Experiment

HELP = """opdkit doctor [key=value ...] [measure=true] [world_size=N]

Takes the arguments of `opdkit train` and checks models, teacher and task together: token ids, special tokens, chat
templates, tokens of a few rollouts, masks, sampling, and time and memory of a step.

  measure=true    also takes a real step and compares it with the estimate (nothing is written)
  world_size=N    instead shows the memory of each of N processes; nothing is loaded

Exits with 0 if a run can start (with or without warnings), with 1 if not.
"""


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit doctor`."""
    if any(text in ("--help", "-h") for text in arguments):
        print(HELP, end="")
        return 0
    measured, arguments = _own("measure", arguments, {"true": 1, "false": 0}.get, "measure=true or measure=false")
    world_size, arguments = _own("world_size", arguments, _count, "world_size=N, N at least 1")
    experiment, masking = _experiment(arguments)
    from opdkit.doctor.per_process import per_process
    from opdkit.doctor.run import DoctorRun
    from opdkit.training.session import close_session

    if world_size is None and experiment.shard != "none":
        raise UserError(
            f"shard={experiment.shard}: the doctor checks models in one process; allowed: shard=none, or world_size=N"
            " for the memory of each of N processes"
        )
    view = ExaminationView(Console(highlight=False))
    sections: list[Section] = []
    try:
        with view.running():
            doctor = DoctorRun(experiment, masking, view.stage, bool(measured))
            for section in doctor.sections() if world_size is None else [per_process(experiment, world_size)]:
                view.section(section)
                sections.append(section)
    finally:
        close_session()
    level = verdict(sections)
    view.close(level, sum(note.level == "warning" for section in sections for note in section.notes))
    return 1 if level == "stop" else 0


def _own(
    key: str, arguments: Sequence[str], read: Callable[[str], int | None], allowed: str
) -> tuple[int | None, list[str]]:
    """The value of a doctor-only key (None if not given) and the remaining arguments. Raises UserError for a value that
    `read` does not accept."""
    own = [text for text in arguments if text.partition("=")[0] == key]
    values = [read(text.partition("=")[2]) for text in own]
    wrong = next((text for text, value in zip(own, values, strict=True) if value is None), None)
    if wrong is not None or len(own) > 1:
        raise UserError(f"{wrong or own[1]}: give {allowed}, once")
    return next(iter(values), None), [text for text in arguments if text not in own]


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and 1 <= int(text) <= 1_000_000 else None


def _experiment(arguments: Sequence[str]) -> tuple[Experiment, str]:
    """The experiment that `train` would run and the name of its masking option. Raises UserError."""
    config, origin = single_job(read("train", arguments), "opdkit doctor")
    return build_experiment(config, origin), origin.choices["masking"]
