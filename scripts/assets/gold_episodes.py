"""Won episodes of two TextWorld-Express games, with the games' own or substituted words."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from opdkit.environments import EnvironmentPool, Observation, StepResult, TextWorldExpress

GAMES = ("simonsays", "peckingorder")
MAX_TURNS = 12
LONGEST_OBSERVATION = 119
_KEPT = {"simonsays": frozenset[str](), "peckingorder": frozenset({"take", "read", "instructions", "book"})}
_UNKNOWN = "Unknown action: I'm not sure what you mean."
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Turn(NamedTuple):
    """An observation and an answer; mistakes are part of the context but never trained on."""

    said: str
    action: str
    mistake: bool = False


@dataclass(frozen=True)
class Episode:
    """A won episode, turn by turn."""

    game: str
    turns: tuple[Turn, ...]

    @property
    def words(self) -> set[str]:
        """All words of its answers."""
        return {word for turn in self.turns for word in turn.action.split()}


@cache
def gold_episodes(fold: str, count: int) -> list[Episode]:
    """The winning gold paths of the first `count` episodes of each game in a fold, without `look around`."""
    source = TextWorldExpress(
        games=list(GAMES), fold=fold, count=count, max_turns=MAX_TURNS, longest_observation=LONGEST_OBSERVATION
    )
    with EnvironmentPool(source, 1) as pool:
        played = [_play(source, pool, planned.game, planned.seed) for planned in source.episodes()]
    return [episode for episode in played if episode is not None]


def _play(source: TextWorldExpress, pool: EnvironmentPool, game: str, seed: int) -> Episode | None:
    (observation,), (gold,) = pool.reset([(0, seed)]), pool.gold([0])
    if not isinstance(observation, Observation) or not isinstance(gold, tuple):
        raise RuntimeError(f"{game}, seed {seed}: no gold path")
    said, turns = source.first_message(observation).content, []
    for action in (action for action in gold if action != "look around"):
        (result,) = pool.step([(0, action)])
        turns.append(Turn(said, action))
        if not isinstance(result, StepResult):
            raise RuntimeError(f"{game}, seed {seed}: {result}")
        said = source.next_message(result.observation).content
        if result.done:
            return Episode(game, tuple(turns)) if result.success else None
    return None


class Disguise:
    """Replaces the words that an episode asks for by English words or random letters.

    A model thus learns to copy rather than the few dozen words of a fold. `spared` words are never inserted;
    `phrases` is the share of simonsays episodes in which Simon says phrases of one to five words instead.
    """

    def __init__(self, seed: int, spared: Iterable[str], phrases: float = 0.0) -> None:
        self._phrases = phrases
        listed = files("reasoning_gym.data").joinpath("words3to10.txt").read_text(encoding="utf-8").split()
        self._words = sorted({word for word in listed if word.isalpha()} - set(spared))
        self._random = random.Random(seed)

    def __call__(self, episode: Episode) -> Episode:
        """The same episode with other words."""
        if self._phrases and episode.game == "simonsays" and self._random.random() < self._phrases:
            return Episode(episode.game, tuple(self._phrase(turn) for turn in episode.turns))
        new = {word: self._word() for word in sorted(episode.words - _KEPT[episode.game])}
        turns: list[Turn] = []
        for said, action, _ in episode.turns:
            replaced = " ".join(new.get(word, word) for word in action.split())
            if episode.game == "simonsays":
                turns.append(Turn(said.replace(f"'{action}'", f"'{replaced}'"), replaced))
            else:
                turns.append(Turn(_rename(said, new), replaced))
        return Episode(episode.game, tuple(turns))

    def _phrase(self, turn: Turn) -> Turn:
        phrase = " ".join(self._word(shortest=1) for _ in range(self._random.randint(1, 5)))
        return Turn(turn.said.replace(f"'{turn.action}'", f"'{phrase}'"), phrase)

    def _word(self, shortest: int = 2) -> str:
        if self._random.random() < 0.7:
            return self._random.choice(self._words)
        return "".join(self._random.choices(_LETTERS, k=self._random.randint(shortest, 10)))


def _rename(said: str, new: dict[str, str]) -> str:
    """`The current task is to take the plum.`, with another plum."""
    start, the, thing = said.rpartition(" the ")
    if not said.endswith(".") or len(thing.split()) > 3:
        return said
    return start + the + " ".join(new.get(word, word) for word in thing[:-1].split()) + "."


def with_mistakes(episode: Episode, draw: random.Random) -> Episode:
    """The same episode with misspelt answers, all unknown to the game, before some of the correct ones."""
    turns: list[Turn] = []
    for said, action, _ in episode.turns:
        asked = said
        while draw.random() < (0.25 if asked == said else 0.6):
            turns.append(Turn(asked, _misspelt(action, draw), mistake=True))
            asked = _UNKNOWN
        turns.append(Turn(asked, action))
    return Episode(episode.game, tuple(turns))


def _misspelt(action: str, draw: random.Random) -> str:
    """An answer with one to three typos: a letter missing, doubled or wrong, or the end cut off. Never correct."""
    letters = list(action)
    for _ in range(draw.randint(1, 3)):
        place, slip = draw.randrange(len(letters)), draw.choice(("lost", "doubled", "wrong", "cut"))
        if slip == "doubled":
            letters.insert(place, letters[place])
        elif slip == "wrong":
            letters[place] = draw.choice(_LETTERS)
        elif len(letters) > 2:
            del letters[place if slip == "lost" else max(place, 2) : place + 1 if slip == "lost" else None]
    text = "".join(letters)
    return text if " ".join(text.split()) != action else text + draw.choice(_LETTERS)
