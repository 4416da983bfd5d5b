"""Converts between games and chats: observations to user turns, model text to actions."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.data.problem import Message
    from opdkit.environments.base import Observation

_FIELDS = ("observation", "admissible")
_LONGEST_ACTION = 300
LONGEST_RESPONSE = 100_000
_CUT = " ..."
_REASONING_END = "</think>"


@dataclass(frozen=True, kw_only=True)
class ChatGame:
    """The shared base of sources; see `opdkit.environments.base.EnvironmentSource` for the methods.

    max_turns: maximum turns of an episode.
    system: system prompt, null for none. first_template and next_template: the user turns, with {observation} and
    optionally {admissible} (the actions, joined by `separator`). longest_observation: maximum characters of an
    observation, longer ones are truncated with a mark; null for no limit.
    action_pattern: a regular expression whose first group, at its last match, is the action; null takes the last
    non-empty line. Reasoning before `</think>` is ignored.
    """

    max_turns: int = 30
    system: str | None = None
    first_template: str = "{observation}"
    next_template: str = "{observation}"
    separator: str = ", "
    longest_observation: int | None = None
    action_pattern: str | None = None

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise UserError(f"max_turns={self.max_turns}; allowed: 1 or more")
        if self.longest_observation is not None and self.longest_observation < 1:
            raise UserError(f"longest_observation={self.longest_observation}; allowed: 1 or more, or null")
        for key in ("first_template", "next_template"):
            _check(key, getattr(self, key))
        if self.action_pattern is not None:
            _check_pattern(self.action_pattern)

    def first_message(self, observation: Observation) -> Message:
        """The first user turn of an episode."""
        return self._message(self.first_template, observation)

    def next_message(self, observation: Observation) -> Message:
        """The user turn after an action."""
        return self._message(self.next_template, observation)

    def read_action(self, response_text: str) -> str:
        """The action in the model's output, one line of at most 300 characters; empty if there is none."""
        text = response_text[-LONGEST_RESPONSE:].rpartition(_REASONING_END)[2]
        if self.action_pattern is not None:
            found = [match.group(1) or "" for match in re.finditer(self.action_pattern, text)]
            text = found[-1] if found else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return " ".join(lines[-1].split())[:_LONGEST_ACTION] if lines else ""

    def _message(self, template: str, observation: Observation) -> Message:
        from opdkit.tasks.templates import render

        text = observation.text
        if self.longest_observation is not None and len(text) > self.longest_observation:
            text = text[: self.longest_observation].rstrip() + _CUT
        fields = {"observation": text, "admissible": self.separator.join(observation.admissible)}
        return render(template, fields)[0]


def parameters(source: object) -> dict[str, object]:
    """The fields of a source as plain values, to rebuild it in another process."""
    if not dataclasses.is_dataclass(source) or isinstance(source, type):
        raise TypeError(f"{type(source).__name__} is not a dataclass")
    return {field.name: getattr(source, field.name) for field in dataclasses.fields(source) if field.init}


def same_action(action: str, admissible: tuple[str, ...]) -> str | None:
    """The admissible action equal to the input up to case and spaces, None if there is none."""
    wanted = " ".join(action.split()).casefold()
    return next((known for known in admissible if " ".join(known.split()).casefold() == wanted), None)


def _check(key: str, template: str) -> None:
    names = set(re.findall(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", template))
    allowed = ", ".join("{" + name + "}" for name in _FIELDS)
    for name in sorted(names - set(_FIELDS)):
        raise UserError(f"{key} asks for {{{name}}}, which a game does not have; allowed: {allowed}")
    if "observation" not in names:
        raise UserError(f"{key}={template!r}: has no {{observation}}; needed: {{observation}}; allowed: {allowed}")


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"action_pattern={pattern!r} is not a regular expression: {error}") from None
    if groups != 1:
        raise UserError(f"action_pattern={pattern!r}: has {groups} groups; allowed: a pattern with one group")
