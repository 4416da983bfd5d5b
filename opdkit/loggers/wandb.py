"""Weights & Biases, beside the jsonl files. Whatever goes wrong with it, the run goes on."""

from __future__ import annotations

import hashlib
import math
import netrc
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlparse

from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.data.table import Table

Mode = Literal["auto", "online", "offline", "disabled"]
_MODES = ("auto", "online", "offline", "disabled")
_INIT_SECONDS = 30
_FINISH_SECONDS = 60


@dataclass(frozen=True)
class WandB:
    """Logs the run's metrics, samples and resolved configuration under `<run folder>/wandb`.

    mode: auto is WANDB_MODE where it is set, else online where a key is to be found (WANDB_API_KEY, ~/.netrc),
    else offline. entity: a team; group: puts runs together. A key is read by W&B itself and never written.
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

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> WandBLogger:
        """A resumed run goes on under the identity that it began with."""
        mode = resolve_mode(self.mode, os.environ)
        if mode == "disabled":
            return WandBLogger(None, offline=False)
        run = _guarded("could not start", lambda: self._start(folder, resolved, mode))
        if run is None and mode == "online":
            mode = "offline"
            run = _guarded("could not start offline either", lambda: self._start(folder, resolved, mode))
        return WandBLogger(run, offline=mode == "offline")

    def _start(self, folder: Path, resolved: Mapping[str, Any], mode: str) -> Any:
        import wandb

        inside = folder / "wandb"
        inside.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=list(self.tags) or None,
            name=folder.name,
            id=_identity(inside),
            resume="allow",
            dir=str(folder),
            config=dict(resolved),
            mode=mode,  # pyright: ignore[reportArgumentType]
            reinit="finish_previous",
            settings=quiet_settings(_INIT_SECONDS, _FINISH_SECONDS),
        )


def quiet_settings(init_seconds: float, finish_seconds: float) -> Any:
    """W&B that says nothing, takes no code, and gives up after a while."""
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


def _identity(folder: Path) -> str:
    """The run's id at W&B: made once, kept in the folder, so that a resumed run is the same run."""
    file = folder / "run-id.txt"
    if file.exists():
        return file.read_text(encoding="ascii").strip()
    fresh = hashlib.sha256(os.urandom(16)).hexdigest()[:12]
    file.write_text(fresh + "\n", encoding="ascii")
    return fresh


def _guarded(what: str, action: Callable[[], Any]) -> Any:
    """The action's result, or None and a line on stderr: W&B's trouble is never the run's."""
    try:
        return action()
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        print(f"opdkit: W&B {what} ({reason}); the run goes on, metrics.jsonl has everything", file=sys.stderr)
        return None


class WandBLogger:
    """An open W&B run. The first failure is told, and nothing more is sent."""

    def __init__(self, run: Any, *, offline: bool) -> None:
        self._run = run
        self._offline = offline

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Not-a-number and infinity are left out: W&B would draw them as gaps in any case."""
        self._send({name: value for name, value in metrics.items() if math.isfinite(value)}, step)

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows as a table, `samples`. Values a token are left to samples.jsonl."""
        if self._run is None or not rows:
            return
        import wandb

        columns: list[Any] = [name for name, value in rows[0].items() if not isinstance(value, list)]
        data: list[Any] = [[str(row.get(name)) for name in columns] for row in rows]
        self._send({"samples": wandb.Table(columns=columns, data=data)}, step)

    def tables(self, step: int, tables: Sequence[Table]) -> None:
        """Each as a table or a histogram, `diagnostics/<name>`."""
        if self._run is not None and tables:
            self._send({f"diagnostics/{table.name}": _drawn(table) for table in tables}, step)

    def _send(self, values: Mapping[str, Any], step: int) -> None:
        run = self._run
        if run is not None and _guarded("stopped", lambda: run.log(dict(values), step=step) or True) is None:
            self._run = None

    def close(self, *, failed: bool = False) -> None:
        """Ends the W&B run; offline, says how to upload it."""
        run, self._run = self._run, None
        if run is None:
            return
        synced = Path(run.settings.sync_dir)
        _guarded("did not end well", lambda: run.finish(exit_code=int(failed)) or True)
        if self._offline:
            print(f"W&B worked offline; upload with: wandb sync {synced}", file=sys.stderr)


def _drawn(table: Table) -> Any:
    import wandb

    if table.histogram:
        edges: list[Any] = [row[0] for row in table.rows] + [row[1] for row in table.rows[-1:]]
        return wandb.Histogram(np_histogram=([row[2] for row in table.rows], edges))  # pyright: ignore[reportArgumentType]
    return wandb.Table(columns=list(table.columns), data=[list(row) for row in table.rows])
