"""Uploads a report to W&B as a run: page, tables, figures, and all files as an artifact."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from opdkit.errors import RunError
from opdkit.loggers.wandb import quiet_settings, resolve_mode

TABLES = ("results", "differences", "runs")
"""Names of the CSV files that become tables."""
_SUFFIXES = (".html", ".md", ".csv", ".png")
_SECONDS = 60


def publish(folder: Path, title: str, note: Callable[[str], None]) -> None:
    """Logs the report in `folder` as a run of job_type `report`; offline, `note` receives the upload command.

    Online if a W&B key is found, else offline; the project is WANDB_PROJECT, else opdkit. W&B files are in
    `<folder>/wandb`. Raises RunError if W&B fails; the report's files are unaffected.
    """
    mode = resolve_mode("auto", os.environ)
    if mode == "disabled":
        note("W&B is switched off (WANDB_MODE, WANDB_DISABLED): the report was not logged there")
        return
    try:
        synced = _log(folder, title, mode)
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(f"W&B did not take the report ({reason}); its files are in {folder}") from error
    if mode == "offline":
        note(f"W&B worked offline; upload with: wandb sync {synced}")


def _log(folder: Path, title: str, mode: str) -> Path:
    import wandb

    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT") or "opdkit",
        job_type="report",
        name=title,
        dir=str(folder),
        mode=mode,  # pyright: ignore[reportArgumentType]
        reinit="finish_previous",
        settings=quiet_settings(_SECONDS, _SECONDS),
    )
    try:
        run.log(dict(_values(folder)))
        artifact = wandb.Artifact(f"report-{run.id}", type="report", description=title)
        for file in sorted(folder.iterdir()):
            if file.suffix in _SUFFIXES:
                artifact.add_file(str(file))
        run.log_artifact(artifact)
        return Path(run.settings.sync_dir)
    finally:
        run.finish()


def _values(folder: Path) -> Mapping[str, Any]:
    """The report, the tables, and one image per PNG."""
    import wandb

    media: dict[str, Any] = {"report": wandb.Html(str(folder / "report.html"), inject=False)}
    for name in TABLES:
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            columns, *rows = csv.reader(file)
        data: list[Any] = rows
        media[name] = wandb.Table(columns=list(columns), data=data)
    for picture in sorted(folder.glob("*.png")):
        media[f"pictures/{picture.stem}"] = wandb.Image(str(picture))
    return media
