"""A model plays episodes: many side by side, the answers of a turn written together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from accelerate import Accelerator
from torch import Tensor

from opdkit.data.episode import EpisodeEnd, Trajectory, Transition
from opdkit.data.problem import Message
from opdkit.environments import Crash, EnvironmentSource, Episode, Observation, StepResult
from opdkit.generation import Chat, EpisodeRollout, Turn
from opdkit.models import LanguageModel
from opdkit.seeding import derive_seed


class Games(Protocol):
    """As much of `EnvironmentPool` as is used here: places for one episode each, numbered from 0."""

    @property
    def source(self) -> EnvironmentSource: ...

    def __len__(self) -> int: ...

    def reset(self, seeds: Sequence[tuple[int, int]]) -> list[Observation | Crash]: ...

    def step(self, actions: Sequence[tuple[int, str]]) -> list[StepResult | Crash]: ...


@dataclass(frozen=True)
class Player:
    """Who plays and how: what `play` asks for each answer."""

    model: LanguageModel
    rollout: EpisodeRollout
    sampler: Callable[[Tensor], Tensor]
    temperature: float
    accelerator: Accelerator

    def answer(self, prompts: Sequence[tuple[int, ...]], seeds: Sequence[int]) -> list[Turn]:
        """One answer to each prompt."""
        self.model.module.eval()
        with self.accelerator.autocast():
            return self.rollout.answer(self.model, prompts, self.sampler, self.temperature, seeds)


@dataclass(frozen=True)
class Played:
    """An episode as words and as the tokens that were sampled. `seen` has the message that each turn answers."""

    trajectory: Trajectory
    turns: tuple[Turn, ...]
    seen: tuple[Message, ...]


@dataclass
class _Game:
    """One episode while it is played."""

    place: int
    episode: Episode
    seed: int
    chat: Chat | None = None
    seen: list[Message] = field(default_factory=list[Message])
    transitions: list[Transition] = field(default_factory=list[Transition])
    last: str = ""
    score: float = 0.0
    success: bool = False
    ending: EpisodeEnd | None = None
    detail: str = ""

    def crash(self, crash: Crash) -> None:
        self.ending, self.detail = "crashed", f"{crash.reason}: {crash.detail}"

    def finished(self) -> Played:
        turns = () if self.chat is None else tuple(self.chat.turns)
        trajectory = Trajectory(
            self.episode.identifier, self.episode.game, tuple(self.transitions), self.ending or "crashed", self.score,
            self.success, 0 if self.chat is None else self.chat.left_out, self.last, self.detail,
        )  # fmt: skip
        return Played(trajectory, turns, tuple(self.seen))


def play(player: Player, games: Games, episodes: Iterable[tuple[Episode, int]]) -> list[Played]:
    """Each (episode, seed) played once, in order; the seed is that of the model's own words.

    An episode takes a free place of `games`, and leaves it when it ends; turns are taken together by all that are
    live. An answer's randomness comes from its episode's seed and its turn, so what an episode is does not depend on
    the others. A game that crashed ends its episode, which is then neither won nor lost. Raises what `games` raises.
    """
    waiting = deque(_Game(place, episode, seed) for place, (episode, seed) in enumerate(episodes))
    done: list[_Game] = []
    live: dict[int, _Game] = {}
    while waiting or live:
        _begin(player, games, waiting, live)
        _take_turn(player, games, live)
        for slot in [slot for slot, game in live.items() if game.ending is not None]:
            done.append(live.pop(slot))
    return [game.finished() for game in sorted(done, key=lambda game: game.place)]


def _begin(player: Player, games: Games, waiting: deque[_Game], live: dict[int, _Game]) -> None:
    """Open the next episodes in the places that are free."""
    free = [slot for slot in range(len(games)) if slot not in live]
    new = {slot: waiting.popleft() for slot in free if waiting}
    openings = games.reset([(slot, game.episode.seed) for slot, game in new.items()])
    source = games.source
    for game, opening in zip(new.values(), openings, strict=True):
        if isinstance(opening, Crash):
            game.crash(opening)
            continue
        game.seen.append(source.first_message(opening))
        game.last = opening.text
        system = [] if source.system is None else [Message("system", source.system)]
        game.chat = player.rollout.open(player.model, [*system, *game.seen])
    live |= new


def _take_turn(player: Player, games: Games, live: dict[int, _Game]) -> None:
    """One answer and one action in every live episode."""
    prompts: dict[int, tuple[int, ...]] = {}
    for slot, game in live.items():
        prompt = None if game.chat is None else game.chat.prompt()
        if prompt is not None:
            prompts[slot] = prompt
        elif game.ending is None:
            game.ending = "context"
    if not prompts:
        return
    seeds = [derive_seed(live[slot].seed, "turn", len(live[slot].transitions)) for slot in prompts]
    turns = player.answer(list(prompts.values()), seeds)
    responses = [player.model.decode(turn.tokens) for turn in turns]
    actions = [games.source.read_action(response) for response in responses]
    results = games.step(list(zip(prompts, actions, strict=True)))
    for slot, turn, response, action, result in zip(prompts, turns, responses, actions, results, strict=True):
        if isinstance(result, Crash):
            live[slot].crash(result)
        else:
            _record(live[slot], games.source, turn, _exchange(live[slot], turn, response, action, result), result)


def _exchange(game: _Game, turn: Turn, response: str, action: str, result: StepResult) -> Transition:
    seen = game.seen[-1].content
    cut = turn.stop_reason == "length"
    return Transition(seen, response, action, result.valid, result.reward, len(turn.tokens), cut)


def _record(game: _Game, source: Any, turn: Turn, transition: Transition, result: StepResult) -> None:
    assert game.chat is not None
    game.chat.answer(turn)
    game.transitions.append(transition)
    game.score, game.success, game.last = result.score, result.success, result.observation.text
    if result.done:
        game.ending = "done"
    elif len(game.transitions) >= source.max_turns:
        game.ending = "turns"
    else:
        game.seen.append(source.next_message(result.observation))
        game.chat.reply(game.seen[-1])
