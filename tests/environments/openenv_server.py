"""Two environments made with OpenEnv's own server classes: `ENV/bin/python openenv_server.py hints|tools PORT`.

Run by an interpreter that has `openenv`; nothing of opdkit is in here.
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastmcp import FastMCP  # pyright: ignore[reportMissingImports]
from openenv.core.env_server import (  # pyright: ignore[reportMissingImports]
    Action,
    CallToolAction,
    CallToolObservation,
    Environment,
    MCPEnvironment,
    Observation,
    State,
    create_fastapi_app,
)


class Guess(Action):
    number: int


class Told(Observation):
    text: str = ""


class Hints(Environment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def reset(self, seed: int | None = None, episode_id: str | None = None, most: int = 9, **_: Any) -> Told:
        self.seed = seed or 0
        return Told(text=f"A number from 1 to {most}?")

    def step(self, action: Guess, timeout_s: float | None = None, **_: Any) -> Told:
        right = action.number == self.seed
        text = "yes" if right else "higher" if action.number < self.seed else "lower"
        return Told(text=text, done=right, reward=float(right))

    @property
    def state(self) -> State:
        return State()


class Tools(MCPEnvironment):
    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        server = FastMCP("tools")

        @server.tool
        def add(a: int, b: int) -> int:
            """The sum."""
            return a + b

        super().__init__(server)

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Observation:
        return Observation()

    def _step_impl(self, action: Any, timeout_s: float | None = None, **_: Any) -> Observation:
        return Observation()

    @property
    def state(self) -> State:
        return State()


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    made = (Hints, Guess, Told) if kind == "hints" else (Tools, CallToolAction, CallToolObservation)
    uvicorn.run(create_fastapi_app(*made, max_concurrent_envs=4), host="127.0.0.1", port=port, log_level="warning")
