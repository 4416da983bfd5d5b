"""Implements `opdkit doctor`: checks of models, teacher and task before a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.config.build import build_experiment
from opdkit.doctor.report import verdict
from opdkit.doctor.view import ExaminationView
from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.training.experiment import Experiment

HELP = """opdkit doctor [key=value ...] [measure=true]

Takes what `opdkit train` takes, and looks at the models, the teacher and the task together: token ids, special tokens,
chat templates, tokens of a few rollouts, masks, sampling, and what a step takes in time and memory.

  measure=true    takes a real step, too, and shows the estimate beside it (nothing is written)

Ends with 0 where a run may start (with or without warnings), with 1 where it may not.
"""


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit doctor`."""
    if any(text in ("--help", "-h") for text in arguments):
        print(HELP, end="")
        return 0
    measures, arguments = _measures(arguments)
    experiment, masking = _experiment(arguments)
    from opdkit.doctor.run import DoctorRun
    from opdkit.training.session import close_session

    view = ExaminationView(Console(highlight=False))
    sections = []
    try:
        with view.running():
            for section in DoctorRun(experiment, masking, view.stage, measures).sections():
                view.section(section)
                sections.append(section)
    finally:
        close_session()
    level = verdict(sections)
    view.close(level, sum(note.level == "warning" for section in sections for note in section.notes))
    return 1 if level == "stop" else 0


def _measures(arguments: Sequence[str]) -> tuple[bool, list[str]]:
    """The doctor's one key of its own, and the arguments without it. Raises UserError."""
    own = [text for text in arguments if text.partition("=")[0] == "measure"]
    wrong = next((text for text in own if text not in ("measure=true", "measure=false")), None)
    if wrong is not None or len(own) > 1:
        raise UserError(f"{wrong or own[1]}: give measure=true or measure=false, once")
    return own == ["measure=true"], [text for text in arguments if text not in own]


def _experiment(arguments: Sequence[str]) -> tuple[Experiment, str]:
    """The experiment that `train` would run, and the name of its masking option. Raises UserError."""
    config, origin = single_job(read("train", arguments), "opdkit doctor")
    return build_experiment(config, origin), origin.choices["masking"]
