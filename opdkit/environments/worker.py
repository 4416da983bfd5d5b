"""The worker process of a game: `python -m opdkit.environments.worker`.

It reads JSON requests from standard input and writes JSON replies, one per line:

    {"make": "module:Class", "fields": {...}, "path": [...]} -> {"ok": null}
    {"reset": seed} -> {"ok": observation}    {"step": action} -> {"ok": result}    {"gold": null} -> {"ok": [...]}

A reply is {"refused": line} for bad input and {"failed": line} for any other error. A watcher process ends this one
and its children (a game may start a JVM) as soon as the parent is gone, even if the game hangs, and removes its
temporary files.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
from typing import Any

from opdkit.environments.base import Environment
from opdkit.environments.wire import encode_observation, encode_result
from opdkit.errors import UserError
from opdkit.processes.child import claim_pipes, next_line, write_all

_WATCH_MILLISECONDS = 1000
# Set iteration order depends on hashes: games are only reproducible with a fixed hash seed.
_JAVA_OPTIONS = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2 -XX:+UseSerialGC -XX:-UsePerfData -Djava.io.tmpdir="


def main() -> None:
    """Serve requests until standard input ends."""
    parent = os.getppid()
    source, sink = claim_pipes()
    folder = tempfile.mkdtemp(prefix="opdkit-game-")
    _start_watcher(source, sink, parent, folder)
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    os.environ["JAVA_TOOL_OPTIONS"] = f"{os.environ.get('JAVA_TOOL_OPTIONS', '')} {_JAVA_OPTIONS}{folder}".strip()
    player, buffer = _Player(), bytearray()
    while (line := next_line(source, buffer, parent)) is not None:
        try:
            reply = json.dumps({"ok": player.answer(json.loads(line))})
        except UserError as error:
            reply = json.dumps({"refused": _one_line(str(error))})
        except Exception as error:
            reply = json.dumps({"failed": _one_line(f"{type(error).__name__}: {error}")})
        write_all(sink, reply.encode() + b"\n")
    player.close()


class _Player:
    """The environment and its request handlers."""

    def __init__(self) -> None:
        self._environment: Environment | None = None

    def answer(self, request: dict[str, Any]) -> object:
        if "make" in request:
            self._environment = _make(request["make"], request["fields"], request["path"])
            return None
        environment = self._environment
        assert environment is not None
        if "reset" in request:
            return encode_observation(environment.reset(request["reset"]))
        if "step" in request:
            return encode_result(environment.step(request["step"]))
        gold = environment.gold()
        return None if gold is None else list(gold)

    def close(self) -> None:
        if self._environment is not None:
            self._environment.close()


def _make(target: str, fields: dict[str, Any], path: list[str]) -> Environment:
    """Builds the environment of the parent's source from its class and fields."""
    sys.path.extend(entry for entry in path if entry not in sys.path)
    module, _, name = target.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found(**fields).make()


def _start_watcher(source: int, sink: int, parent: int, folder: str) -> None:
    """Forks the watcher. It only polls for the pipe closing, so it consumes no requests."""
    worker = os.getpid()
    if os.fork():
        return
    try:
        os.setsid()
        os.close(sink)
        poll = select.poll()
        poll.register(source, 0)
        while not poll.poll(_WATCH_MILLISECONDS) and os.getppid() == worker and _exists(parent):
            pass
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os._exit(0)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


if __name__ == "__main__":
    main()
