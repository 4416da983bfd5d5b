"""An environment of `verifiers` in a worker process: its rollout waits while our model generates.

A verifiers environment drives the rollout itself and requests each answer from a client. This client returns the chat
as an observation and waits for the action.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opdkit.environments.base import Observation, StepResult
from opdkit.environments.tool_calls import read_calls, result_told, tools_told
from opdkit.errors import UserError

# Its pre-0.3 modules are found by a custom import finder, which type checkers don't know.
vf: Any = importlib.import_module("verifiers")
types: Any = importlib.import_module("verifiers.types")
Client: Any = importlib.import_module("verifiers.clients").Client


class VerifiersGame:
    """Plays the rows of an environment, one at a time. See `opdkit.environments.base.Environment`."""

    def __init__(self, identifier: str, arguments: Mapping[str, Any], split: str, success_from: float) -> None:
        try:
            self._environment: Any = _load(identifier, arguments)
        except (ValueError, RuntimeError, AttributeError, ImportError) as error:
            raise UserError(f"id={identifier}: {error}") from error
        if self._environment.requires_group_rollouts:
            raise UserError(
                f"id={identifier}: its rubric compares rollouts of one prompt; allowed: one that grades each alone"
            )
        self._rows: Any = self._environment.get_dataset() if split == "train" else self._environment.get_eval_dataset()
        self._identifier, self._success_from = identifier, success_from
        self._loop = asyncio.new_event_loop()
        self._client = _WaitingClient(None)
        self._rollout: asyncio.Task[Any] | None = None

    def reset(self, seed: int) -> Observation:
        """Starts the episode of a dataset row."""
        if not 0 <= seed < len(self._rows):
            raise UserError(
                f"id={self._identifier}: row {seed} is asked for (start + count), and it has {len(self._rows)}"
            )
        self._cancel()
        random.seed(seed)
        self._client = _WaitingClient(None)
        row = dict(self._rows[seed])
        self._rollout = self._loop.create_task(self._environment.rollout(row, self._client, "opdkit", {}))
        self._until_asked()
        if self._rollout.done():
            raise RuntimeError(f"the episode ended before the first turn: {self._rollout.result().get('error')}")
        return Observation(self._client.unread())

    def step(self, action: str) -> StepResult:
        """Passes an answer to the environment and waits for its reply, or for the reward."""
        assert self._rollout is not None
        self._client.answer(action)
        self._until_asked()
        if not self._rollout.done():
            return StepResult(Observation(self._client.unread()), 0.0, False, 0.0, False, True)
        state = self._rollout.result()
        if state.get("error") is not None:
            raise RuntimeError(f"{type(state['error']).__name__}: {state['error']}")
        self._loop.run_until_complete(self._environment.rubric.score_rollout(state))
        reward = float(state["reward"])
        score = min(1.0, max(0.0, reward))
        return StepResult(Observation(""), score, True, score, reward >= self._success_from, True)

    def gold(self) -> tuple[str, ...] | None:
        """None: the answer of a row is for the rubric, not an action."""
        return None

    def close(self) -> None:
        """Ends the episode."""
        self._cancel()

    def _until_asked(self) -> None:
        """Runs the rollout until it requests an answer or ends."""
        assert self._rollout is not None
        asked = self._loop.create_task(self._client.asked.wait())
        self._loop.run_until_complete(asyncio.wait((asked, self._rollout), return_when=asyncio.FIRST_COMPLETED))
        asked.cancel()

    def _cancel(self) -> None:
        if self._rollout is not None and not self._rollout.done():
            self._rollout.cancel()
            self._loop.run_until_complete(asyncio.wait((self._rollout,)))


def _load(identifier: str, arguments: Mapping[str, Any]) -> Any:
    """Calls `module:Class`; any other name is loaded as a verifiers environment."""
    module, _, name = identifier.partition(":")
    if not name:
        return vf.load_environment(identifier, **arguments)
    return getattr(importlib.import_module(module), name)(**arguments)


class _WaitingClient(Client):
    """A `verifiers` client whose answers are supplied from outside.

    asked: set while waiting for an answer.
    """

    def __init__(self, client_or_config: None) -> None:
        super().__init__(client_or_config)
        self.asked = asyncio.Event()
        self._answered: asyncio.Future[str] | None = None
        self._messages: Sequence[Any] = ()
        self._tools: Sequence[Any] = ()
        self._read = 0

    def unread(self) -> str:
        """The new turns of the chat since the last call, except the model's own."""
        new, first = self._messages[self._read :], self._read == 0
        self._read = len(self._messages) + 1  # the pending answer
        return _told(new, self._tools) if first else "\n\n".join(map(_turn, new))

    def answer(self, text: str) -> None:
        """Supplies the model's output."""
        assert self._answered is not None
        self.asked.clear()
        self._answered.set_result(text)

    async def get_response(self, prompt: Any, model: str, sampling_args: Any, tools: Any = None, **kwargs: Any) -> Any:
        """Waits for the answer to a chat."""
        self._messages, self._tools = prompt, tools or ()
        self._answered = asyncio.get_running_loop().create_future()
        self.asked.set()
        text = await self._answered
        calls = _native(text) if self._tools else []
        message = types.ResponseMessage(
            content=text, tool_calls=calls or None, finish_reason="tool_calls" if calls else "stop", is_truncated=False
        )
        return types.Response(id="opdkit", created=int(time.time()), model=model, message=message)

    def setup_client(self, config: Any) -> None: ...
    async def to_native_tool(self, tool: Any) -> Any: ...
    async def to_native_prompt(self, messages: Any) -> Any: ...
    async def get_native_response(self, *args: Any, **kwargs: Any) -> Any: ...
    async def raise_from_native_response(self, response: Any) -> None: ...
    async def from_native_response(self, response: Any) -> Any: ...
    async def close(self) -> None: ...


def _told(messages: Sequence[Any], tools: Sequence[Any]) -> str:
    """The opening turns of a chat as one text: a single question unchanged, earlier turns with their roles."""
    *before, question = messages
    parts = [_content(one) if one.role == "system" else f"{one.role.capitalize()}: {_content(one)}" for one in before]
    if tools:
        described = [{"name": t.name, "description": t.description, "parameters": t.parameters} for t in tools]
        parts.append(tools_told(described))
    return "\n\n".join([*parts, _content(question)])


def _turn(message: Any) -> str:
    text = _content(message)
    return result_told(text) if message.role == "tool" else text


def _content(message: Any) -> str:
    """The text of a message; images are rejected."""
    content = message.content
    if content is None or isinstance(content, str):
        return content or ""
    texts = [part.get("text") if isinstance(part, dict) else getattr(part, "text", None) for part in content]
    if any(text is None for text in texts):
        raise UserError("the environment shows a picture or a sound; allowed: text")
    return "\n".join(map(str, texts))


def _native(text: str) -> list[Any]:
    """The tool calls in the model's output, in verifiers' format."""
    return [
        types.ToolCall(id=f"call-{number}", name=call.name, arguments=json.dumps(call.arguments))
        for number, call in enumerate(read_calls(text))
    ]
