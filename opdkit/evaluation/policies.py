"""Players that are no model: what a benchmark's numbers are held against."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from opdkit.data.episode import EpisodeEnd, Trajectory, Transition
from opdkit.environments import Crash, EnvironmentPool, Episode, Observation, StepResult
from opdkit.errors import UserError
from opdkit.seeding import derive_seed


@dataclass
class EpisodeState:
    """An episode as a policy sees it: what it was begun with, the gold path, and where it stands."""

    place: int
    episode: Episode
    seed: int
    observation: Observation = field(default_factory=lambda: Observation(""))
    gold: tuple[str, ...] | None = None
    seen: str = ""
    transitions: list[Transition] = field(default_factory=list[Transition])
    score: float = 0.0
    success: bool = False
    ending: EpisodeEnd | None = None
    detail: str = ""

    def crash(self, crash: Crash) -> None:
        """End as an episode of which nothing is known."""
        self.ending, self.detail = "crashed", f"{crash.reason}: {crash.detail}"

    def trajectory(self) -> Trajectory:
        """The finished episode."""
        return Trajectory(
            self.episode.identifier, self.episode.game, tuple(self.transitions), self.ending or "crashed", self.score,
            self.success, 0, self.observation.text, self.detail,
        )  # fmt: skip


class Policy(Protocol):
    """Says what to do next; None gives up."""

    @property
    def uses_gold(self) -> bool:
        """Whether it looks at `EpisodeState.gold`."""
        ...

    def act(self, boards: Sequence[EpisodeState]) -> list[str | None]:
        """One action for each board."""
        ...


@dataclass(frozen=True)
class RandomPolicy:
    """Any admissible action, each as likely as the others; the episode's seed says which."""

    uses_gold: bool = False

    def act(self, boards: Sequence[EpisodeState]) -> list[str | None]:
        """Raises UserError where a game lists no admissible actions."""
        return [self._choose(board) for board in boards]

    def _choose(self, board: EpisodeState) -> str:
        choices = board.observation.admissible
        if not choices:
            raise UserError(
                f"baselines: {board.episode.identifier} lists no admissible actions, so none can be drawn; "
                f"leave random out (benchmark.baselines=[gold])"
            )
        return choices[derive_seed(board.seed, "random", len(board.transitions)) % len(choices)]


@dataclass(frozen=True)
class GoldPolicy:
    """The game's own solution, action by action; a game that tells none is given up at once."""

    uses_gold: bool = True

    def act(self, boards: Sequence[EpisodeState]) -> list[str | None]:
        """The next action of each board's path."""
        paths = [board.gold or () for board in boards]
        turns = [len(board.transitions) for board in boards]
        return [path[turn] if turn < len(path) else None for path, turn in zip(paths, turns, strict=True)]


POLICIES: dict[str, Policy] = {"random": RandomPolicy(), "gold": GoldPolicy()}


def play_policy(policy: Policy, games: EnvironmentPool, episodes: Sequence[tuple[Episode, int]]) -> list[Trajectory]:
    """Each (episode, seed) played once by a policy, in order. Raises what the policy and the games raise."""
    waiting = deque(EpisodeState(place, episode, seed) for place, (episode, seed) in enumerate(episodes))
    live: dict[int, EpisodeState] = {}
    done: list[EpisodeState] = []
    while waiting or live:
        _begin(policy, games, waiting, live)
        _take_turn(policy, games, live)
        for slot in [slot for slot, board in live.items() if board.ending is not None]:
            done.append(live.pop(slot))
    return [board.trajectory() for board in sorted(done, key=lambda board: board.place)]


def _begin(policy: Policy, games: EnvironmentPool, waiting: deque[EpisodeState], live: dict[int, EpisodeState]) -> None:
    new = {slot: waiting.popleft() for slot in range(len(games)) if slot not in live and waiting}
    for board, opening in zip(
        new.values(), games.reset([(slot, board.episode.seed) for slot, board in new.items()]), strict=True
    ):
        if isinstance(opening, Crash):
            board.crash(opening)
        else:
            board.observation, board.seen = opening, games.source.first_message(opening).content
    begun = {slot: board for slot, board in new.items() if board.ending is None}
    if policy.uses_gold:
        for board, gold in zip(begun.values(), games.gold(list(begun)), strict=True):
            if isinstance(gold, Crash):
                board.crash(gold)
            else:
                board.gold = gold
    live |= new


def _take_turn(policy: Policy, games: EnvironmentPool, live: dict[int, EpisodeState]) -> None:
    boards = {slot: board for slot, board in live.items() if board.ending is None}
    actions: dict[int, str] = {}
    for (slot, board), action in zip(boards.items(), policy.act(list(boards.values())), strict=True):
        if action is None:
            board.ending = "turns"
        else:
            actions[slot] = action
    for (slot, action), result in zip(actions.items(), games.step(list(actions.items())), strict=True):
        board = boards[slot]
        if isinstance(result, Crash):
            board.crash(result)
        else:
            _record(board, games, action, result)


def _record(board: EpisodeState, games: EnvironmentPool, action: str, result: StepResult) -> None:
    board.transitions.append(Transition(board.seen, action, action, result.valid, result.reward, 0, False))
    board.observation, board.score, board.success = result.observation, result.score, result.success
    if result.done:
        board.ending = "done"
    elif len(board.transitions) >= games.source.max_turns:
        board.ending = "turns"
    else:
        board.seen = games.source.next_message(result.observation).content
