"""Text models that say what a test wants, and groups to grade."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.rewards import Group, RewardContext
from opdkit.text import Chat
from opdkit.text.quoting import unfenced

Says = Callable[[Chat], str | None]


@dataclass
class Spoken:
    """A spec and its model in one. `chats`: all that it was asked."""

    says: Says
    chats: list[Chat] = field(default_factory=list)
    records: list[Path | None] = field(default_factory=list)
    name: str = "spoken"
    closed: int = 0

    def open(self, record: Path | None) -> Spoken:
        self.records.append(record)
        return self

    def complete(self, chats: Sequence[Chat]) -> list[str | None]:
        self.chats += chats
        return [self.says(chat) for chat in chats]

    def usage(self) -> Mapping[str, float]:
        count = float(len(self.chats))
        return {"calls": count, "prompt_tokens": 10 * count, "completion_tokens": count, "seconds": 0.5 * count}

    def close(self) -> None:
        self.closed += 1


def parts(chat: Chat) -> dict[str, str]:
    return unfenced(chat.messages[-1].content)


def title(chat: Chat) -> object:
    return None if chat.schema is None else chat.schema["title"]


def rubric(*weights: int) -> str:
    return json.dumps({"criteria": [{"criterion": f"has {c}", "weight": w} for c, w in zip("abcdefghijkl", weights)]})  # noqa: B905


def letters(weights: Sequence[int]) -> Says:
    """Criterion i asks for the i-th letter, and is met by a response that holds it."""

    def says(chat: Chat) -> str:
        if title(chat) == "rubric":
            return rubric(*weights)
        shown = parts(chat)
        wanted = [text[-1] for name, text in shown.items() if name.startswith("criterion ")]
        responses = [text for name, text in shown.items() if name.startswith("response ")]
        rows = [[letter in text for letter in wanted] for text in responses]
        return json.dumps({"verdicts": [{"response": i + 1, "passed": row} for i, row in enumerate(rows)]})

    return says


def group(name: str, *responses: str, grades: tuple[Grade, ...] | None = None) -> Group:
    return Group(Problem(name, (Message("user", f"problem {name}"),), "gold"), responses, grades)


def write_nothing_new(asked: Sequence[tuple[tuple[Message, ...], int]]) -> list[str]:
    return [f"<think>secret</think>abcdefghijkl {seed % 7}" for _, seed in asked]


def context(folder: Path | None = None, seed: int = 0, **fields: object) -> RewardContext:
    settings: dict[str, object] = {"grade": None, "teacher": write_nothing_new}
    return RewardContext(**(settings | fields), folder=folder, seed=seed)  # pyright: ignore[reportArgumentType]
