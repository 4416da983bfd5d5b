"""Tokenizes a growing chat, and drops the oldest turns when it becomes too long."""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.data.problem import Message
from opdkit.generation.pack import Turn
from opdkit.models import ChatFrame, LanguageModel


class Chat:
    """One episode's chat: the opening, then pairs of an answer and the reply to it.

    When the chat exceeds `limit` tokens, its oldest pairs are dropped for good; the opening and the newest pair always
    stay. `turns` are the answers so far, `left_out` is the number of dropped pairs. Raises UserError if the model's
    chat template does not support this (see `ChatFrame`).
    """

    def __init__(self, model: LanguageModel, opening: Sequence[Message], limit: int) -> None:
        self._frame = ChatFrame(model, opening)
        self._opening = model.render(opening)
        self._pairs: list[list[int]] = []
        self._limit = limit
        self.turns: list[Turn] = []
        self.left_out = 0

    def prompt(self) -> tuple[int, ...] | None:
        """The next prompt's ids, None if even the opening and the newest pair exceed the limit."""
        while len(self._pairs) - self.left_out > 1 and self._length() > self._limit:
            self.left_out += 1
        if self._length() > self._limit:
            return None
        return (*self._opening, *(token for pair in self._pairs[self.left_out :] for token in pair))

    def answer(self, turn: Turn) -> None:
        """Append the model's answer."""
        self.turns.append(turn)

    def reply(self, message: Message) -> None:
        """Append the reply to the last answer."""
        answer = self.turns[-1].completion.ids
        self._pairs.append([*answer, *self._frame.between(message, answer)])

    def _length(self) -> int:
        return len(self._opening) + sum(map(len, self._pairs[self.left_out :]))
