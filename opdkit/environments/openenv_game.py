"""A client of an OpenEnv environment: maps its WebSocket messages to observations and results.

The server answers `{"type": "reset", "data": {...}}` and `{"type": "step", "data": action}` with
`{"type": "observation", "data": {"observation": {...}, "reward": ..., "done": ...}}`, or with an error.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from opdkit.environments.base import Observation, StepResult
from opdkit.environments.openenv_actions import TOOLS, NoActionError, action_form
from opdkit.environments.openenv_fields import OpenEnvFields, fetched
from opdkit.environments.tool_calls import result_told, tools_told
from opdkit.errors import UserError

_OPEN_SECONDS, _ANSWER_SECONDS, _RETRY_SECONDS = 10.0, 55.0, 0.5
_LARGEST_MESSAGE = 1 << 24
_FULL, _WRONG_ACTION = "CAPACITY_REACHED", "VALIDATION_ERROR"


class ServerSaysError(RuntimeError):
    """An error reported by the server.

    Attributes:
        code: OpenEnv's error code.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"the server says {code}: {message}")
        self.code = code


class OpenEnvGame:
    """Plays episodes, one at a time. See `opdkit.environments.base.Environment`."""

    def __init__(self, source: OpenEnvFields) -> None:
        self._source = source
        try:
            schema = json.loads(fetched(source.server, "/schema", "server"))["action"]
            self._form = action_form(schema, source.action, source.constants)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"server={source.server}: tells no schema of its actions (GET /schema)") from None
        self._socket: ClientConnection | None = None
        self._rewards: list[float] = []
        self._turns = 0

    def reset(self, seed: int) -> Observation:
        """Starts the episode of that seed in its own session."""
        self.close()
        self._rewards, self._turns = [], 0
        data = self._begun({"type": "reset", "data": {"seed": seed, **self._source.reset}})
        told = self._observation(data)
        if self._form.field != TOOLS:
            return told
        listed = self._ask({"type": "step", "data": {"type": "list_tools"}})
        tools = [_tool(tool) for tool in listed.get("observation", {}).get("tools", [])]
        return Observation("\n\n".join(filter(None, [told.text, tools_told(tools)])), told.admissible)

    def step(self, action: str) -> StepResult:
        """Sends the model's output. An invalid action changes nothing but costs a turn."""
        self._turns += 1
        try:
            data = self._done(self._form.read(action))
        except NoActionError as error:
            return self._result(Observation(str(error)), done=False, valid=False)
        except ServerSaysError as fault:
            if fault.code != _WRONG_ACTION:
                raise
            return self._result(Observation("This action is not understood."), done=False, valid=False)
        self._rewards += [_reward(one["reward"]) for one in data if one.get("reward") is not None]
        done = bool(data[-1].get("done"))
        if self._form.field != TOOLS:
            return self._result(self._observation(data[-1]), done, valid=True)
        told = [_tool_answer(one.get("observation") or {}) for one in data]
        text = "\n\n".join(result_told(text) for text, _ in told)
        return self._result(Observation(text), done, valid=all(fine for _, fine in told))

    def gold(self) -> tuple[str, ...] | None:
        """None: OpenEnv exposes no solutions."""
        return None

    def close(self) -> None:
        """Ends the session."""
        if self._socket is not None:
            with contextlib.suppress(WebSocketException, OSError):
                self._socket.send(json.dumps({"type": "close"}))
                self._socket.close()
            self._socket = None

    def _result(self, observation: Observation, done: bool, *, valid: bool) -> StepResult:
        last = self._rewards[-1] if self._rewards else 0.0
        total = sum(self._rewards) if self._source.returns == "sum" else last
        if done or self._turns >= self._source.max_turns:
            self.close()  # others may want the session
        success = done and total >= self._source.success_from
        return StepResult(observation, last, done, min(1.0, max(0.0, total)), success, valid)

    def _begun(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a reset in a new session, waiting while all sessions are taken."""
        ends = time.monotonic() + self._source.patience
        while True:
            try:
                self._socket = connect(
                    self._source.server.rstrip("/").replace("http", "ws", 1) + "/ws",
                    open_timeout=_OPEN_SECONDS, max_size=_LARGEST_MESSAGE, proxy=None,
                )  # fmt: skip
                return self._ask(message)
            except ServerSaysError as fault:
                self.close()
                if fault.code != _FULL or time.monotonic() >= ends:
                    raise
                time.sleep(_RETRY_SECONDS)

    def _done(self, actions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The server's replies to successive actions, up to the end of the episode."""
        answers: list[dict[str, Any]] = []
        for action in actions:
            answers.append(self._ask({"type": "step", "data": action}))
            if answers[-1].get("done"):
                break
        return answers

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._socket is not None
        with contextlib.suppress(WebSocketException):  # a full server replies before any request, and disconnects
            self._socket.send(json.dumps(message))
        answer = json.loads(self._socket.recv(_ANSWER_SECONDS))
        data = answer.get("data") or {}
        if answer.get("type") != "observation":
            raise ServerSaysError(str(data.get("code", "nothing")), str(data.get("message", answer.get("type")))[:200])
        return data

    def _observation(self, data: Mapping[str, Any]) -> Observation:
        """The shown fields: a single text unchanged, several with their names."""
        fields: dict[str, Any] = data.get("observation") or {}
        listed = self._source.admissible
        if listed is not None and listed not in fields:
            raise UserError(f"admissible={listed}: no such field of an observation; allowed: {', '.join(fields)}")
        missing = [name for name in self._source.shown if name not in fields]
        if missing:
            raise UserError(f"shown: {missing[0]} is no field of an observation; allowed: {', '.join(fields)}")
        names = self._source.shown or [name for name in fields if name != listed and not _empty(fields[name])]
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
        text = texts[names[0]] if len(names) == 1 else "\n".join(f"{name}: {texts[name]}" for name in names)
        return Observation(text, () if listed is None else tuple(map(str, fields[listed] or ())))


def _reward(told: object) -> float:
    if not isinstance(told, (int, float)) or not math.isfinite(told):
        raise ServerSaysError("reward", f"{str(told)[:80]} is no number")
    return float(told)


def _empty(value: object) -> bool:
    return value is None or value == "" or value == [] or value == {}


def _tool(told: Mapping[str, Any]) -> dict[str, Any]:
    parameters = told.get("input_schema", told.get("inputSchema", {}))
    return {"name": told.get("name"), "description": told.get("description"), "parameters": parameters}


def _tool_answer(observation: Mapping[str, Any]) -> tuple[str, bool]:
    """A tool's result and whether the call succeeded: the texts of MCP content, or the full result."""
    error = observation.get("error")
    if error is not None:
        return str(error.get("message", error) if isinstance(error, dict) else error), False
    result = observation.get("result", {name: value for name, value in observation.items() if name != "tool_name"})
    content = result.get("content") if isinstance(result, dict) else None
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict)), True
    return result if isinstance(result, str) else json.dumps(result), True
