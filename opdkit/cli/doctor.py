"""`opdkit doctor`: what a run would trip over, told before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import open_dict
from rich.console import Console

from opdkit.cli.arguments import make_importable, read
from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.config.overrides import check, parse
from opdkit.doctor.report import verdict
from opdkit.errors import UserError
from opdkit.experiment import Experiment
from opdkit.reporting.examination import ExaminationView

HELP = """opdkit doctor [key=value ...]

Takes what `opdkit train` takes, and looks at the models, the teacher and the task together: token ids, special tokens,
chat templates, tokens of a few rollouts, masks and sampling.

Ends with 0 where a run may start (with or without warnings), with 1 where it may not.
"""


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit doctor`."""
    if any(text in ("--help", "-h") for text in arguments):
        print(HELP, end="")
        return 0
    experiment, masking = _experiment(arguments)
    from opdkit.training.examination import Examination
    from opdkit.training.session import close_session

    view = ExaminationView(Console(highlight=False))
    sections = []
    try:
        with view.running():
            for section in Examination(experiment, masking, view.stage).sections():
                view.section(section)
                sections.append(section)
    finally:
        close_session()
    level = verdict(sections)
    view.close(level, sum(note.level == "warning" for section in sections for note in section.notes))
    return 1 if level == "stop" else 0


def _experiment(arguments: Sequence[str]) -> tuple[Experiment, str]:
    """The experiment that `train` would run, and the name of its masking option. Raises UserError."""
    request = read("train", arguments)
    if request.shows or request.multirun:
        raise UserError("opdkit doctor looks at one run and takes key=value and --config-dir alone")
    make_importable(request.config_dir)
    source = Source("train", request.config_dir)
    check("train", parse(request.overrides), source.folders, multirun=False)
    config = compose(source, request.overrides, with_hydra=True)
    choices = {str(key): str(value) for key, value in config.hydra.runtime.choices.items()}
    with open_dict(config):
        del config["hydra"]
    return build_experiment(config, Origin(request.overrides, choices, source.folders)), choices["masking"]
