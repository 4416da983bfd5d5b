"""A chat that grows turn by turn, as token ids: what stands between one answer and the next.

What a model wrote is kept as the ids that were sampled. Only the turns of the others are rendered and tokenised, and
joined to them; a history is never written out as text and tokenised again, since that may give other ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.models.language_model import LanguageModel

# Stands for an answer while the template is asked what it puts around one.
_ANSWER = "answer"


class ChatFrame:
    """What the model's chat template puts around the answers of one chat.

    opening: the turns before the first answer. A template is right for this if a longer chat begins with the
    shorter one; what it would cut out of earlier answers (reasoning, say) stays, as it was sampled.
    Raises UserError where there is no template, or it rewrites the turns that came before.
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
        """Ids from the end of an answer to the beginning of the next: the answer's end, `message`, the new opening.

        answer: the ids that were sampled. Where they end with the stop token that the template puts there it is not
        put there twice; where a limit cut them it is added, as given.
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
