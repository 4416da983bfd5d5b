"""A policy for text games whose actions are a model's answers in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from opdkit.data.episode import EpisodeEnd
from opdkit.data.problem import Message
from opdkit.environments import EnvironmentSource
from opdkit.generation.base import Ask, Engine, Memory, Sampling
from opdkit.generation.chat import Chat
from opdkit.generation.pack import Turn
from opdkit.generation.play import EpisodeState, Move
from opdkit.models import LanguageModel
from opdkit.seeding import derive_seed


@dataclass(frozen=True)
class ModelPolicy:
    """Plays the episodes of one call of `play`.

    An answer's seed derives from its episode's seed and its turn, so an episode does not depend on the others.

    Attributes:
        engine: generates the answers.
        renderer: the model whose chat template and tokenizer are used.
        source: parses the actions.
        sampling: sampling settings of every answer.
        max_new_tokens: the maximum length of an answer.
        max_prompt_tokens: the maximum length of a turn's prompt.
        remembers: whether the engine may keep a chat's key-value cache for the next turn.
    """

    engine: Engine
    renderer: LanguageModel
    source: EnvironmentSource
    sampling: Sampling
    max_new_tokens: int
    max_prompt_tokens: int
    remembers: bool = True
    _memories: dict[int, Memory] = field(default_factory=dict[int, Memory], repr=False)
    _chats: dict[int, Chat] = field(default_factory=dict[int, Chat], repr=False)
    uses_gold: bool = False

    def act(self, states: Sequence[EpisodeState]) -> list[Move | EpisodeEnd]:
        """See `Policy`. An episode ends when its chat exceeds the maximum prompt length."""
        live = {state.index for state in states}
        for index in [index for index in self._memories if index not in live]:
            del self._memories[index]
        prompts = {state.index: self._prompt(state) for state in states}
        asked = [(state, ids) for state in states if (ids := prompts[state.index]) is not None]
        asks = [
            Ask(ids, derive_seed(state.seed, "turn", len(state.transitions)), self.max_new_tokens, self._memory(state))
            for state, ids in asked
        ]
        completions = self.engine.generate(asks, self.sampling) if asks else []
        moves: dict[int, Move] = {}
        for (state, ids), completion in zip(asked, completions, strict=True):
            self._chats[state.index].answer(Turn(ids, completion))
            response = self.renderer.decode(completion.ids)
            cut = completion.stop_reason == "length"
            moves[state.index] = Move(response, self.source.read_action(response), len(completion.ids), cut)
        return [moves.get(state.index, "context") for state in states]

    def _memory(self, state: EpisodeState) -> Memory | None:
        return self._memories.setdefault(state.index, Memory()) if self.remembers else None

    def turns(self, state: EpisodeState) -> tuple[Turn, ...]:
        """The answers of an episode that were passed to its game."""
        chat = self._chats.get(state.index)
        return () if chat is None else tuple(chat.turns[: len(state.transitions)])

    def _prompt(self, state: EpisodeState) -> tuple[int, ...] | None:
        chat = self._chats.get(state.index)
        if chat is None:
            system = [] if self.source.system is None else [Message("system", self.source.system)]
            chat = self._chats[state.index] = Chat(self.renderer, [*system, *state.messages], self.max_prompt_tokens)
        else:
            chat.reply(state.messages[-1])
        prompt = chat.prompt()
        state.left_out = chat.left_out
        return prompt
