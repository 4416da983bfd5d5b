"""Token ids of a multi-turn chat, in particular those between one answer and the next.

The model's answers are kept as the sampled ids. Only the other turns are rendered, tokenised and appended. The history
is never decoded and re-tokenised, since that may give different ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.models.language_model import LanguageModel

# Placeholder answer, used to find out what the template puts around an answer.
_ANSWER = "answer"


class ChatFrame:
    """The text that the model's chat template puts around the answers of a chat.

    opening: the turns before the first answer. The template must render a longer chat with the shorter one as its
    prefix. Parts that it would strip from earlier answers (such as reasoning) are kept as sampled.
    Raises UserError if there is no template, or it rewrites earlier turns.
    """

    def __init__(self, model: LanguageModel, opening: Sequence[Message]) -> None:
        if model.tokenizer.chat_template is None:
            raise UserError(f"{model.name} has no chat template, and an episode of several turns is a chat")
        self._model = model
        self._opening = tuple(opening)
        self._before = model.render_text(opening) + _ANSWER
        turn = Message("user", "go on")
        first = self._text_after(turn)
        twice = [*self._opening, Message("assistant", _ANSWER), turn, Message("assistant", _ANSWER), turn]
        if model.render_text(twice) != self._before + first + _ANSWER + first:
            raise self._refusal()

    def between(self, message: Message, answer: Sequence[int]) -> list[int]:
        """Ids between two answers: the end of the answer, `message`, and the generation prompt.

        answer: the sampled ids. If they end with the template's stop token, it is not repeated; if they were cut at a
        limit, it is added.
        """
        text = self._text_after(message)
        ids: list[int] = self._model.tokenizer.encode(text, add_special_tokens=False)
        stop = next((place for place, token in enumerate(ids) if token in self._model.stop_ids), None)
        if stop is None or not answer or answer[-1] != ids[stop]:
            return ids
        closes = not self._model.tokenizer.decode(ids[:stop]).strip()
        return ids[stop + 1 :] if closes else ids

    def _text_after(self, message: Message) -> str:
        text = self._model.render_text([*self._opening, Message("assistant", _ANSWER), message])
        if not text.startswith(self._before):
            raise self._refusal()
        return text[len(self._before) :]

    def _refusal(self) -> UserError:
        return UserError(
            f"the chat template of {self._model.name} rewrites earlier turns as a chat grows, so the tokens that were "
            "sampled could not stay as they were: it can't be used for episodes of several turns"
        )
