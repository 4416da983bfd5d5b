"""A step of episodes: played side by side, then cut into rows to train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.data.episode import Trajectory
from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.data.rollout import Rollout
from opdkit.environments import EnvironmentPool, Episode
from opdkit.errors import RunError
from opdkit.experiment import Experiment
from opdkit.generation import pack
from opdkit.models import LanguageModel
from opdkit.seeding import derive_seed
from opdkit.training.play import Played, Player, play
from opdkit.training.problems import EpochSampler
from opdkit.training.writing import RolloutBatch, mean, row_metrics, texts


@dataclass(frozen=True)
class EpisodeSource:
    """Episodes of a walk, `rollouts_per_prompt` times each, as rows. seed: of the sampling.

    An episode whose game crashed has no rows, and neither has one whose first prompt is too long: it is counted and
    passed over, since nothing is known of its outcome.
    """

    experiment: Experiment
    seed: int
    player: Player
    games: EnvironmentPool
    episodes: Sequence[Episode]
    walk: EpochSampler

    def write(self, step: int, author: LanguageModel) -> RolloutBatch:
        """The rows of step `step`, played by `author` in the student's chat format.

        Raises RunError where not one of the episodes could be played.
        """
        batch, waited = self.experiment.batch, self.games.seconds
        taken = [self.episodes[self.walk.next()] for _ in range(batch.prompts)]
        asked = [episode for episode in taken for _ in range(batch.rollouts_per_prompt)]
        seeds = [derive_seed(self.seed, "episode", step, index) for index in range(len(asked))]
        player = replace(self.player, model=replace(self.player.model, module=author.module))
        played = play(player, self.games, zip(asked, seeds, strict=True))
        kept = [(i, p) for i, p in enumerate(played) if p.turns and p.trajectory.ending != "crashed"]
        self.walk.dropped += len(played) - len(kept)
        if not kept:
            raise RunError(f"step {step + 1}: {_nothing_played([p.trajectory for p in played])}")
        return self._rows(kept, _metrics(played, self.walk.dropped, self.games.seconds - waited))

    def from_the_start(self, experiment: Experiment, seed: int) -> EpisodeSource:
        """See `RolloutSource`; the games are shared."""
        return replace(self, experiment=experiment, seed=seed, walk=self.walk.from_the_start())

    def close(self) -> None:
        """End the games."""
        self.games.close()

    def _rows(self, kept: Sequence[tuple[int, Played]], metrics: dict[str, float]) -> RolloutBatch:
        model, rollout = self.player.model, self.player.rollout
        rows = [rollout.rows(p.turns) for _, p in kept]
        problems = [problem for (_, p), cut in zip(kept, rows, strict=True) for problem in _problems(p, cut)]
        grades = [grade for (_, p), cut in zip(kept, rows, strict=True) for grade in _grades(p, cut)]
        packed = pack(model, [row for cut in rows for row in cut], problems)
        sizes = tuple(len(cut) for cut in rows)
        outcome = [_outcome(p.trajectory, rollout.reward) for _, p in kept]
        copies = self.experiment.batch.rollouts_per_prompt
        reward = _spread(torch.tensor(outcome), sizes, packed)
        group = _spread(torch.tensor([index // copies for index, _ in kept]), sizes, packed)
        metrics = row_metrics(packed) | metrics | {"rollout/reward_mean": mean(outcome)}
        return RolloutBatch(packed, tuple(grades), texts(model, packed), reward, group, sizes, metrics)


def _spread(values: Tensor, sizes: Sequence[int], rollout: Rollout) -> Tensor:
    """One value an episode [E] -> one value a row [B]."""
    return values.repeat_interleave(torch.tensor(sizes)).to(rollout.tokens.device)


def _outcome(trajectory: Trajectory, reward: str) -> float:
    return float(trajectory.success) if reward == "success" else trajectory.score


def _problems(played: Played, rows: Sequence[Sequence[object]]) -> list[Problem]:
    """One for each row: the episode and turn that it begins with, and what the environment had said."""
    found: list[Problem] = []
    turn = 0
    for row in rows:
        found.append(Problem(f"{played.trajectory.identifier}#{turn + 1}", (played.seen[turn],), ""))
        turn += len(row)
    return found


def _grades(played: Played, rows: Sequence[Sequence[object]]) -> list[Grade]:
    """One for each row: whether the episode was won, and the row's last action."""
    found: list[Grade] = []
    turn = 0
    for row in rows:
        turn += len(row)
        transition = played.trajectory.transitions[turn - 1]
        found.append(Grade.of(played.trajectory.success, transition.action, "ok" if transition.valid else "invalid"))
    return found


def _metrics(played: Sequence[Played], dropped: int, waited: float) -> dict[str, float]:
    """Of a step's episodes; what a crashed one was is not known, so it is counted and no more."""
    known = [p.trajectory for p in played if p.trajectory.ending != "crashed"]
    transitions = [transition for trajectory in known for transition in trajectory.transitions]
    return {
        "rollout/success": mean([trajectory.success for trajectory in known]),
        "rollout/score_mean": mean([trajectory.score for trajectory in known]),
        "rollout/turns_mean": mean([len(trajectory.transitions) for trajectory in known]),
        "rollout/invalid_fraction": mean([not transition.valid for transition in transitions]),
        "rollout/left_out_turns": mean([trajectory.left_out for trajectory in known]),
        "rollout/turn_limit_fraction": mean([trajectory.ending == "turns" for trajectory in known]),
        "rollout/context_limit_fraction": mean([trajectory.ending == "context" for trajectory in known]),
        "rollout/crashed_episodes": float(len(played) - len(known)),
        "rollout/dropped_prompts": float(dropped),
        "time/environment_s": waited,
    }


def _nothing_played(trajectories: Sequence[Trajectory]) -> str:
    crashed = [trajectory for trajectory in trajectories if trajectory.ending == "crashed"]
    if crashed:
        return f"all {len(trajectories)} episodes crashed or never began; the first: {crashed[0].detail}"
    return f"the first prompt of all {len(trajectories)} episodes is longer than rollout.max_prompt_tokens"
