"""Composes a single configuration without running Hydra's application."""

from __future__ import annotations

from omegaconf import DictConfig

from opdkit.cli.arguments import Request, make_importable
from opdkit.config.build import Origin
from opdkit.config.compose import Source, compose, without_hydra
from opdkit.errors import UserError


def single_job(request: Request, caller: str) -> tuple[DictConfig, Origin]:
    """The configuration of the requested job and its origin.

    caller: the calling command, for messages. Raises UserError for flags, several values, and as `compose`.
    """
    if request.shows or request.multirun:
        raise UserError(f"{caller} is for a single run and takes only key=value and --config-dir")
    make_importable(request.config_dir)
    source = Source(request.root, request.config_dir)
    config, choices = without_hydra(compose(source, request.overrides, with_hydra=True))
    return config, Origin(request.overrides, choices, source.folders)
