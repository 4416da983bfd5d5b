"""Composes one configuration without Hydra's application, for callers in this process."""

from __future__ import annotations

from omegaconf import DictConfig

from opdkit.cli.arguments import Request, make_importable
from opdkit.config.build import Origin
from opdkit.config.compose import Source, compose, without_hydra
from opdkit.errors import UserError


def single_job(request: Request, caller: str) -> tuple[DictConfig, Origin]:
    """The configuration of the one job that was asked for, and where it comes from.

    caller: who asks, for the message. Raises UserError for flags, for several values, and as `compose`.
    """
    if request.shows or request.multirun:
        raise UserError(f"{caller} looks at one run and takes key=value and --config-dir alone")
    make_importable(request.config_dir)
    source = Source(request.root, request.config_dir)
    config, choices = without_hydra(compose(source, request.overrides, with_hydra=True))
    return config, Origin(request.overrides, choices, source.folders)
