"""The tokens of one episode as it goes on, and what is left out when they become too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from opdkit.data.problem import Message
from opdkit.data.rollout import StopReason
from opdkit.models import ChatFrame, LanguageModel


@dataclass(frozen=True)
class Turn:
    """One answer, and the chat that it was given to, as token ids.

    prompt: every id that the model read; tokens: the n ids that were sampled; log_prob and entropy f32[n], see
    `Rollout`; stop_reason: whether a stop token or the limit ended it.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    log_prob: Tensor
    entropy: Tensor
    stop_reason: StopReason


class Chat:
    """One episode's chat: the opening, then pairs of an answer and what came back.

    limit: the most tokens a prompt may have. A longer chat loses its oldest pairs first, for good; the opening and
    the newest pair always stay. `turns` are the answers so far, `left_out` how many pairs were lost.
    Raises UserError for a model that can't hold such a chat (see `ChatFrame`).
    """

    def __init__(self, model: LanguageModel, opening: Sequence[Message], limit: int) -> None:
        self._frame = ChatFrame(model, opening)
        self._opening = model.render(opening)
        self._pairs: list[list[int]] = []
        self._limit = limit
        self.turns: list[Turn] = []
        self.left_out = 0

    def prompt(self) -> tuple[int, ...] | None:
        """What the model reads next; None where even the opening and the newest pair are longer than the limit."""
        while len(self._pairs) - self.left_out > 1 and self._length() > self._limit:
            self.left_out += 1
        if self._length() > self._limit:
            return None
        return (*self._opening, *(token for pair in self._pairs[self.left_out :] for token in pair))

    def answer(self, turn: Turn) -> None:
        """Add what the model wrote."""
        self.turns.append(turn)

    def reply(self, message: Message) -> None:
        """Add what came back."""
        answer = self.turns[-1].tokens
        self._pairs.append([*answer, *self._frame.between(message, answer)])

    def _length(self) -> int:
        return len(self._opening) + sum(map(len, self._pairs[self.left_out :]))
