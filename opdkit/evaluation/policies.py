"""Baseline policies of game benchmarks: random actions and gold paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opdkit.data.episode import EpisodeEnd
from opdkit.errors import UserError
from opdkit.generation import EpisodeState, Move, Policy
from opdkit.seeding import derive_seed


@dataclass(frozen=True)
class RandomPolicy:
    """A uniformly random admissible action, seeded per episode."""

    uses_gold: bool = False

    def act(self, states: Sequence[EpisodeState]) -> list[Move | EpisodeEnd]:
        """See `Policy`. Raises UserError if a game lists no admissible actions."""
        actions = [self._choose(state) for state in states]
        return [Move(action, action) for action in actions]

    def _choose(self, state: EpisodeState) -> str:
        choices = state.observation.admissible
        if not choices:
            raise UserError(
                f"baselines: {state.episode.identifier} lists no admissible actions, so none can be drawn; "
                f"leave random out (benchmark.baselines=[gold])"
            )
        return choices[derive_seed(state.seed, "random", len(state.transitions)) % len(choices)]


@dataclass(frozen=True)
class GoldPolicy:
    """Plays the game's own solution. A game without one is given up at once."""

    uses_gold: bool = True

    def act(self, states: Sequence[EpisodeState]) -> list[Move | EpisodeEnd]:
        """See `Policy`."""
        moves: list[Move | EpisodeEnd] = []
        for state in states:
            path, turn = state.gold or (), len(state.transitions)
            moves.append(Move(path[turn], path[turn]) if turn < len(path) else "turns")
        return moves


POLICIES: dict[str, Policy] = {"random": RandomPolicy(), "gold": GoldPolicy()}
