"""A step's episodes: played in parallel, then split into training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.data.episode import Trajectory
from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.data.rollout import Author, Rollout
from opdkit.environments import EnvironmentPool, Episode
from opdkit.errors import RunError, UserError
from opdkit.generation import Engine, EpisodeRollout, EpisodeState, ModelPolicy, Sampling, Turn, pack, play
from opdkit.models import LanguageModel
from opdkit.rewards import Group
from opdkit.seeding import derive_seed
from opdkit.training.problems import EpochSampler
from opdkit.training.sources import RolloutBatch, StepSize, Writer, mean, row_metrics, texts
from opdkit.world.world import World

_Played = tuple[int, EpisodeState, tuple[Turn, ...]]


@dataclass(frozen=True)
class EpisodeSource:
    """Episodes in the order of `sampler`, `rollouts_per_prompt` times each, as rows.

    An episode whose game crashed, or whose first prompt is too long, has no rows; it is skipped and counted, since its
    outcome is unknown.

    Attributes:
        size: the size of a step.
        seed: the sampling seed.
        student: the model whose tokenizer and chat template are used, whoever plays.
        settings: limits, and how turns become rows.
        sampling: sampling settings of every answer.
        games: the pool of environments.
        episodes: all episodes.
        sampler: their order.
    """

    size: StepSize
    seed: int
    student: LanguageModel
    settings: EpisodeRollout
    sampling: Sampling
    games: EnvironmentPool
    episodes: Sequence[Episode]
    sampler: EpochSampler

    def take(self, step: int, writers: Sequence[Writer], entropy: bool = True) -> dict[Author, RolloutBatch]:
        """See `RolloutSource`. Raises RunError if none of the episodes could be played."""
        taken = [self.episodes[self.sampler.next()] for _ in range(self.size.prompts)]
        asked = [episode for episode in taken for _ in range(self.size.rollouts_per_prompt)]
        seeds = [derive_seed(self.seed, "episode", step, index) for index in range(len(asked))]
        source = replace(self, sampling=replace(self.sampling, entropy=entropy))
        return {w.author: source._batch(step, list(zip(asked, seeds, strict=True)), w) for w in writers}

    def _batch(self, step: int, asked: Sequence[tuple[Episode, int]], writer: Writer) -> RolloutBatch:
        if writer.engine is None:
            raise UserError("method: an episode has no worked solution, so the data can't be its author")
        waited = self.games.seconds
        engine = writer.engine
        played = World.current().shared(asked, lambda part: self._played(part, engine))
        kept = [(at, state, turns) for at, (state, turns) in enumerate(played) if turns and state.ending != "crashed"]
        self.sampler.dropped += len(played) - len(kept)
        trajectories = [state.trajectory() for state, _ in played]
        if not kept:
            raise RunError(f"step {step + 1}: {_nothing_played(trajectories)}")
        metrics = _metrics(trajectories, self.sampler.dropped, self.games.seconds - waited)
        return self._rows(kept, metrics, writer.author)

    def _played(
        self, asked: Sequence[tuple[Episode, int]], engine: Engine
    ) -> list[tuple[EpisodeState, tuple[Turn, ...]]]:
        """The final state of each episode, with the answers passed to its game."""
        limits = (self.settings.max_new_tokens, self.settings.max_prompt_tokens, self.settings.keep_cache)
        policy = ModelPolicy(engine, self.student, self.games.source, self.sampling, *limits)
        return [(state, policy.turns(state)) for state in play(policy, self.games, asked)]

    def restarted(self, size: StepSize, seed: int) -> EpisodeSource:
        """See `RolloutSource`. The games are shared."""
        return replace(self, size=size, seed=seed, sampler=self.sampler.restarted())

    def close(self) -> None:
        """End the games."""
        self.games.close()

    def _rows(self, kept: Sequence[_Played], metrics: dict[str, float], author: Author) -> RolloutBatch:
        cuts = [self.settings.rows(turns) for _, _, turns in kept]
        problems = [p for (_, state, _), cut in zip(kept, cuts, strict=True) for p in _problems(state, cut)]
        grades = [g for (_, state, _), cut in zip(kept, cuts, strict=True) for g in _row_grades(state, cut)]
        packed = pack(self.student, [row for cut in cuts for row in cut], problems, author)
        sizes = tuple(len(cut) for cut in cuts)
        copies = self.size.rollouts_per_prompt
        group = _spread(torch.tensor([index // copies for index, _, _ in kept]), sizes, packed)
        responses = texts(self.student, packed)
        metrics = row_metrics(packed) | metrics
        return RolloutBatch(packed, responses, self._groups(kept), group, sizes, metrics, tuple(grades))

    def _groups(self, kept: Sequence[_Played]) -> tuple[Group, ...]:
        """Groups of episodes with the same initial state, with the outcomes of their games."""
        groups: dict[int, list[EpisodeState]] = {}
        for index, state, _ in kept:
            groups.setdefault(index // self.size.rollouts_per_prompt, []).append(state)
        return tuple(
            Group(
                Problem(states[0].episode.identifier, (states[0].messages[0],), ""),
                tuple("\n".join(t.response for t in state.transitions) for state in states),
                tuple(Grade(_outcome(state, self.settings.reward), state.success) for state in states),
            )
            for states in groups.values()
        )


def _spread(values: Tensor, sizes: Sequence[int], rollout: Rollout) -> Tensor:
    """Expand one value per episode [E] to one per row [B]."""
    return values.repeat_interleave(torch.tensor(sizes)).to(rollout.tokens.device)


def _outcome(state: EpisodeState, reward: str) -> float:
    return float(state.success) if reward == "success" else state.score


def _problems(state: EpisodeState, rows: Sequence[Sequence[object]]) -> list[Problem]:
    """One problem per row: the episode, the row's first turn, and the environment's observations before it."""
    problems: list[Problem] = []
    turn = 0
    for row in rows:
        problems.append(Problem(f"{state.episode.identifier}#{turn + 1}", (state.messages[turn],), ""))
        turn += len(row)
    return problems


def _row_grades(state: EpisodeState, rows: Sequence[Sequence[object]]) -> list[Grade]:
    """One grade per row: whether the episode was won, and the row's last action."""
    grades: list[Grade] = []
    turn = 0
    for row in rows:
        turn += len(row)
        transition = state.transitions[turn - 1]
        grades.append(Grade.of(state.success, transition.action, "ok" if transition.valid else "invalid"))
    return grades


def _metrics(trajectories: Sequence[Trajectory], dropped: int, waited: float) -> dict[str, float]:
    """Metrics of a step's episodes. A crashed one is only counted, since its outcome is unknown."""
    known = [trajectory for trajectory in trajectories if trajectory.ending != "crashed"]
    transitions = [transition for trajectory in known for transition in trajectory.transitions]
    return {
        "rollout/success": mean([trajectory.success for trajectory in known]),
        "rollout/score_mean": mean([trajectory.score for trajectory in known]),
        "rollout/turns_mean": mean([len(trajectory.transitions) for trajectory in known]),
        "rollout/invalid_fraction": mean([not transition.valid for transition in transitions]),
        "rollout/left_out_turns": mean([trajectory.left_out for trajectory in known]),
        "rollout/turn_limit_fraction": mean([trajectory.ending == "turns" for trajectory in known]),
        "rollout/context_limit_fraction": mean([trajectory.ending == "context" for trajectory in known]),
        "rollout/crashed_episodes": float(len(trajectories) - len(known)),
        "rollout/dropped_prompts": float(dropped),
        "time/environment_s": waited,
    }


def _nothing_played(trajectories: Sequence[Trajectory]) -> str:
    crashed = [trajectory for trajectory in trajectories if trajectory.ending == "crashed"]
    if crashed:
        return f"all {len(trajectories)} episodes crashed or never began; the first: {crashed[0].detail}"
    return f"the first prompt of all {len(trajectories)} episodes is longer than rollout.max_prompt_tokens"
