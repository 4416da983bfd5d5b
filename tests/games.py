"""A game that a random model can play, without a package: say words until one has the letter of the day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opdkit.environments import Crash, Environment, EnvironmentSource, Episode, Observation, StepResult

if TYPE_CHECKING:
    from opdkit.data.problem import Message

LETTERS = "etaoin"


class LetterGame:
    """Over when an action has the seed's letter; an action without any letter is not understood.

    Seeds from 1000 on die at their second action.
    """

    def __init__(self) -> None:
        self.seed, self.turn = 0, 0

    def reset(self, seed: int) -> Observation:
        self.seed, self.turn = seed, 0
        return Observation(f"Guess the letter of day {seed}.", tuple(LETTERS))

    def step(self, action: str) -> StepResult:
        self.turn += 1
        if self.seed >= 1000 and self.turn == 2:
            raise RuntimeError("the game fell over")
        found = LETTERS[self.seed % len(LETTERS)] in action
        text = f"Turn {self.turn}: " + ("yes." if found else "no, not in " + repr(action[:10]))
        valid = any(letter.isalpha() for letter in action)
        score = 1.0 if found else min(self.turn, 4) / 8
        return StepResult(Observation(text, tuple(LETTERS)), float(found), found, score, found, valid)

    def gold(self) -> tuple[str, ...] | None:
        return (LETTERS[self.seed % len(LETTERS)],)

    def close(self) -> None: ...


@dataclass(frozen=True)
class LetterSource:
    """Episodes of `LetterGame`: `count` seeds from `first` on."""

    count: int = 8
    first: int = 0
    max_turns: int = 5
    system: str | None = None
    name: str = "letters"

    def episodes(self) -> Sequence[Episode]:
        return [Episode(f"letters/{seed}", seed, "letters") for seed in range(self.first, self.first + self.count)]

    def make(self) -> Environment:
        return LetterGame()

    def first_message(self, observation: Observation) -> Message:
        return self.next_message(observation)

    def next_message(self, observation: Observation) -> Message:
        from opdkit.data.problem import Message

        return Message("user", observation.text)

    def read_action(self, response_text: str) -> str:
        return response_text.strip()


@dataclass
class GamesHere:
    """The games of a source in this process, with the interface of `EnvironmentPool`."""

    source: EnvironmentSource
    places: int
    asked: list[int] = field(default_factory=list)
    seconds: float = 0.0
    restarts: int = 0

    def __post_init__(self) -> None:
        self._games = [self.source.make() for _ in range(self.places)]

    def __len__(self) -> int:
        return self.places

    def reset(self, seeds: Sequence[tuple[int, int]]) -> list[Observation | Crash]:
        return [self._games[place].reset(seed) for place, seed in seeds]

    def step(self, actions: Sequence[tuple[int, str]]) -> list[StepResult | Crash]:
        self.asked.append(len(actions))
        return [self._step(place, action) for place, action in actions]

    def close(self) -> None: ...

    def _step(self, place: int, action: str) -> StepResult | Crash:
        try:
            return self._games[place].step(action)
        except RuntimeError as error:
            return Crash("crashed", str(error))
