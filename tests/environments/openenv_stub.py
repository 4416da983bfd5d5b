"""As much of an OpenEnv server as opdkit asks for: its web socket, its schema and its health, in threads."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Request, Response, ServerConnection, serve


class Session(Protocol):
    """One environment. What it raises is told as an error of execution, a ValueError as a wrong action."""

    def reset(self, **arguments: Any) -> dict[str, Any]: ...
    def step(self, action: Mapping[str, Any]) -> tuple[dict[str, Any], float | None, bool]: ...


@dataclass
class Stub:
    """An environment as its server has it.

    Attributes:
        make: a new environment.
        schema: of its actions.
        sessions: at once.
        opened: sessions so far.
        taken: sessions now.
    """

    make: type[Session]
    schema: Mapping[str, Any]
    sessions: int = 8
    opened: int = 0
    taken: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        told = {"/health": {"status": "healthy"}, "/schema": {"action": self.schema}}.get(request.path)
        status = HTTPStatus.OK if told else HTTPStatus.NOT_FOUND
        return connection.respond(status, json.dumps(told))

    def serve(self, socket: ServerConnection) -> None:
        with self._lock:
            full = self.taken >= self.sessions
            self.taken += not full
        if full:
            return socket.send(_error("CAPACITY_REACHED", f"{self.taken} of {self.sessions}"))
        self.opened += 1
        environment = self.make()
        try:
            for message in socket:
                asked = json.loads(message)
                if asked["type"] == "close":
                    break
                socket.send(_answer(environment, asked))
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                self.taken -= 1
        return None


def _answer(environment: Session, asked: Mapping[str, Any]) -> str:
    try:
        if asked["type"] == "reset":
            found = environment.reset(**asked["data"]), None, False
        else:
            found = environment.step(asked["data"])
    except ValueError as error:
        return _error("VALIDATION_ERROR", str(error))
    except RuntimeError as error:
        return _error("EXECUTION_ERROR", str(error))
    names = ("observation", "reward", "done")
    return json.dumps({"type": "observation", "data": dict(zip(names, found, strict=True))})


def _error(code: str, message: str) -> str:
    return json.dumps({"type": "error", "data": {"code": code, "message": message}})


@contextmanager
def stubbed(make: type[Session], schema: Mapping[str, Any], **fields: Any) -> Iterator[tuple[str, Stub]]:
    """The address of a stub, and the stub."""
    stub = Stub(make, schema, **fields)
    with serve(stub.serve, "127.0.0.1", 0, process_request=stub.answer_http) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}", stub
        finally:
            server.shutdown()
            thread.join(20)


def training(server: str, turns: int) -> list[str]:
    """The words of a run on the server's environment that is evaluated on two episodes of it."""
    return [
        "train", "task=openenv", f"task.server={server}", "task.count=4", f"task.max_turns={turns}",
        "benchmark=openenv", f"benchmark.source.server={server}", f"benchmark.source.max_turns={turns}",
        "benchmark.source.count=2", "benchmark.max_new_tokens=4", "run_dir=run", "rollout.reward=score",
        "rollout.max_prompt_tokens=200", "rollout.max_new_tokens=4", "rollout.side_by_side=2", "batch.micro_batch=2",
        "batch.epochs=1", "logger=jsonl",
    ]  # fmt: skip
