"""Logs to Weights & Biases."""

from __future__ import annotations

import netrc
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from opdkit.data.table import Table
from opdkit.errors import UserError
from opdkit.loggers.service import ServiceLogger, guarded, run_identity

Mode = Literal["auto", "online", "offline", "disabled"]
_MODES = ("auto", "online", "offline", "disabled")
_INIT_SECONDS = 30
_FINISH_SECONDS = 60


@dataclass(frozen=True)
class WandB:
    """Logs the run's metrics, samples and resolved configuration under `<run folder>/wandb`.

    A key is read by W&B itself and never written.

    Attributes:
        project: Name of the project.
        mode: auto: WANDB_MODE if set, else online if there is a key (WANDB_API_KEY, ~/.netrc), else offline.
        entity: Team or user; None: the key's owner.
        group: Group of runs in the W&B interface.
        tags: Tags of the run.
    """

    project: str = "opdkit"
    mode: Mode = "auto"
    entity: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise UserError(f"logger.wandb.mode={self.mode}: must be one of {', '.join(_MODES)}")
        if not self.project or any(sign in self.project for sign in "/\\#?%:"):
            raise UserError(f"logger.wandb.project={self.project!r}: must be a name without / \\ # ? % :")

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> ServiceLogger:
        """A resumed run keeps its W&B run id."""
        mode = resolve_mode(self.mode, os.environ)
        if mode == "disabled":
            return ServiceLogger("W&B", None)
        run = guarded("W&B", "could not start", lambda: self._start(folder, resolved, mode))
        if run is None and mode == "online":
            mode = "offline"
            run = guarded("W&B", "could not start offline either", lambda: self._start(folder, resolved, mode))
        return ServiceLogger("W&B", None if run is None else WandBRun(run, offline=mode == "offline"))

    def _start(self, folder: Path, resolved: Mapping[str, Any], mode: str) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=list(self.tags) or None,
            name=folder.name,
            id=run_identity(folder / "wandb"),
            resume="allow",
            dir=str(folder),
            config=dict(resolved),
            mode=mode,  # pyright: ignore[reportArgumentType]
            reinit="finish_previous",
            settings=quiet_settings(_INIT_SECONDS, _FINISH_SECONDS),
        )


def quiet_settings(init_seconds: float, finish_seconds: float) -> Any:
    """W&B settings: silent, no code upload, with timeouts."""
    import wandb

    return wandb.Settings(
        silent=True, console="off", disable_git=True, disable_code=True, disable_job_creation=True,
        init_timeout=init_seconds, finish_timeout=finish_seconds,
    )  # fmt: skip


def resolve_mode(mode: Mode, environment: Mapping[str, str]) -> str:
    """online, offline or disabled."""
    if mode != "auto":
        return mode
    asked = environment.get("WANDB_MODE", "").lower()
    if asked in _MODES[1:]:
        return asked
    if environment.get("WANDB_DISABLED", "").lower() in ("1", "true"):
        return "disabled"
    return "online" if _has_key(environment) else "offline"


def _has_key(environment: Mapping[str, str]) -> bool:
    if environment.get("WANDB_API_KEY", "").strip():
        return True
    host = urlparse(environment.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(environment.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


class WandBRun:
    """An open W&B run. Offline, closing prints the upload command."""

    def __init__(self, run: Any, *, offline: bool) -> None:
        self._run = run
        self._offline = offline

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def table(self, step: int, name: str, table: Table) -> None:
        self._run.log({name: _media(table)}, step=step)

    def close(self, *, failed: bool) -> None:
        synced = Path(self._run.settings.sync_dir)
        self._run.finish(exit_code=int(failed))
        if self._offline:
            print(f"W&B worked offline; upload with: wandb sync {synced}", file=sys.stderr)


def _media(table: Table) -> Any:
    """A W&B histogram or table."""
    import wandb

    if table.histogram:
        edges: list[Any] = [row[0] for row in table.rows] + [row[1] for row in table.rows[-1:]]
        return wandb.Histogram(np_histogram=([row[2] for row in table.rows], edges))  # pyright: ignore[reportArgumentType]
    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
