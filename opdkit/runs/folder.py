"""The layout of a run folder, and its lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opdkit.errors import UserError
from opdkit.files import write_whole
from opdkit.runs.moved import as_written_today

# Keys that may differ on resumption: they do not change the computation.
_FREE_KEYS = (
    "resume", "run_dir", "logger", "diagnostics", "diagnostics_every", "probe", "probe_every", "paths",
    "keep_checkpoints", "checkpoint_every", "early_stop", "keep_best", "push_to_hub", "shard_replicas",
    "shard_offload",
)  # fmt: skip
# Keys of an opdkit.text model that may differ: its address, retries and budget.
_FREE_OF_TEXT = frozenset(
    ("base_url", "key_variable", "concurrency", "attempts", "backoff", "timeout", "budget_calls", "budget_tokens")
)


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "env.json"

    @property
    def evals(self) -> Path:
        return self.path / "evals"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def final(self) -> Path:
        return self.path / "final"

    @property
    def best(self) -> Path:
        return self.path / "best"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def require_new(self) -> None:
        """Raises UserError if the folder already has a run."""
        if self.config.exists():
            raise UserError(
                f"run_dir={str(self.path)!r} already contains a run; choose another folder or add resume=true"
            )

    def steps_done(self) -> int | None:
        """The number of steps of a finished run, else None."""
        try:
            return int(json.loads(self.summary.read_text(encoding="utf-8"))["steps"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stopped_early(self) -> Mapping[str, Any] | None:
        """What stopped a finished run early; None if it made all its steps or is unfinished."""
        try:
            return json.loads(self.summary.read_text(encoding="utf-8")).get("stopped_early")
        except (OSError, ValueError, AttributeError):
            return None

    def require_same_config(self, resolved: Mapping[str, Any]) -> None:
        """Raises UserError with the first differences from the config that the run was started with.

        A finished run may be extended by more steps.
        """
        try:
            before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"run_dir={str(self.path)!r}: config.yaml can't be read: {error}") from error
        ours = json.loads(json.dumps(resolved))
        done = self.steps_done()
        changed = [
            f"{key}: {old!r} -> {new!r}" for key, old, new in _differences(as_written_today(before or {}, ours), ours)
            if not _is_free(key, ours) and not (key == "steps" and done is not None and done <= (old or 0) < new)
        ]  # fmt: skip
        if changed:
            more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
            raise UserError(f"resume=true with a config that differs from the run's: {'; '.join(changed[:4])}{more}")

    def start(self, resolved: Mapping[str, Any], environment: Mapping[str, object]) -> None:
        """Writes config.yaml and env.json."""
        for folder in (self.evals, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.environment, json.dumps(environment, indent=1) + "\n")
        write_whole(self.config, yaml.safe_dump(json.loads(json.dumps(resolved)), sort_keys=False))

    def extend(self, resolved: Mapping[str, Any]) -> None:
        """Extends a finished run by more steps: its final evaluation is kept under its step.

        An interruption at any point leaves a run that is either still finished or can be resumed.
        """
        kept = self.evals / f"step-{self.steps_done():06d}"
        kept.mkdir(exist_ok=True)
        for file in [path for path in self.evals.iterdir() if path.is_file()]:
            file.rename(kept / file.name)
        write_whole(self.config, yaml.safe_dump(json.loads(json.dumps(resolved)), sort_keys=False))
        self.summary.unlink()

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Locks the folder: a second process gets a UserError. The lock of a killed owner is released."""
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UserError(f"run_dir={str(self.path)!r} can't be written: {error.strerror}") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(f"run_dir={str(self.path)!r} is in use by another run") from None
            yield
        finally:
            os.close(handle)
            if missing and {path.name for path in self.path.iterdir()} <= {".lock"}:
                self._remove(missing)

    def _remove(self, created: list[Path]) -> None:
        """Removes the folder of a rejected run."""
        (self.path / ".lock").unlink(missing_ok=True)
        for path in created:
            if any(path.iterdir()):
                return
            path.rmdir()


def _is_free(key: str, config: Mapping[str, Any]) -> bool:
    """Whether a key may differ on resumption."""
    first, *path = key.split(".")
    if first in _FREE_KEYS or path[-1:] == ["servers"]:
        return True
    if not path or path[-1] not in _FREE_OF_TEXT:
        return False
    node: Any = config.get(first)
    for name in path[:-1]:
        node = node.get(name) if isinstance(node, dict) else None
    return isinstance(node, dict) and str(node.get("_target_")).startswith("opdkit.text.")


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) wherever two plain configs differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
    elif old != new:
        yield key, old, new
