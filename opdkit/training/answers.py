"""A model as what a benchmark asks: problems and seeds in, answers or transcripts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from opdkit.console.terminal import Reporter
from opdkit.data.episode import Trajectory
from opdkit.data.problem import Problem
from opdkit.environments import Episode
from opdkit.evaluation import POLICIES, Answer, EpisodeBenchmark, play_policy, run_benchmark, run_episodes
from opdkit.generation import EpisodeRollout, HFRollout
from opdkit.models import LanguageModel
from opdkit.training.play import Player, play


@dataclass(frozen=True)
class BenchmarkGenerator:
    """Writes answers with a model under a benchmark's own sampler, temperature and length limit.

    A prompt longer than `rollout.max_prompt_tokens` gets an empty, truncated answer: it counts as wrong.
    """

    model: LanguageModel
    rollout: HFRollout
    sampler: Callable[..., Any]
    temperature: float
    accelerator: Accelerator

    def __call__(self, problems: Sequence[Problem], seeds: Sequence[int]) -> list[Answer]:
        """One answer a problem, in order."""
        rendered = [self.model.render(problem.messages) for problem in problems]
        fits = [i for i, ids in enumerate(rendered) if len(ids) <= self.rollout.max_prompt_tokens]
        answers = [Answer(text="", tokens=0, truncated=True) for _ in problems]
        if not fits:
            return answers
        self.model.module.eval()
        with self.accelerator.autocast():
            rollout = self.rollout.generate(
                self.model,
                [(problems[i], rendered[i]) for i in fits],
                self.sampler,
                self.temperature,
                [seeds[i] for i in fits],
            )
        lengths = rollout.sampled_mask.sum(dim=1).tolist()
        for place, row, length, reason in zip(fits, rollout.tokens.tolist(), lengths, rollout.stop_reason, strict=True):
            answers[place] = Answer(self.model.decode(row[:length]), length, reason == "length")
        return answers


def ask(
    model: LanguageModel, benchmark: Any, rollout: HFRollout, accelerator: Accelerator, seed: int, folder: Path,
    reporter: Reporter, baselines: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """The summary of `model` on `benchmark`, written to `folder`; with those of an episode benchmark's `baselines`."""
    if isinstance(benchmark, EpisodeBenchmark):
        lengths = (benchmark.max_new_tokens, rollout.max_prompt_tokens, rollout.batch_size)
        player = Player(model, EpisodeRollout(*lengths), benchmark.sampler, benchmark.temperature, accelerator)
        return _watch(player, benchmark, seed, folder, reporter, benchmark.baselines if baselines else ())
    sized = replace(rollout, max_new_tokens=benchmark.max_new_tokens)
    writer = BenchmarkGenerator(model, sized, benchmark.sampler, benchmark.temperature, accelerator)
    return run_benchmark(writer, benchmark, seed, folder, reporter.stage)


def _watch(
    player: Player, benchmark: EpisodeBenchmark, seed: int, folder: Path, reporter: Reporter, baselines: Sequence[str]
) -> dict[str, Any]:
    """A model's episodes, then those of the policies that it is compared with, in the same games."""
    with benchmark.open_games() as games:

        def by_model(episodes: Sequence[tuple[Episode, int]]) -> list[Trajectory]:
            return [played.trajectory for played in play(player, games, episodes)]

        summary = run_episodes(by_model, benchmark, seed, folder, progress=reporter.stage)
        for name in baselines:
            policy = POLICIES[name]
            by_policy = partial(play_policy, policy, games)
            once = replace(benchmark, n_samples=1) if policy.uses_gold else benchmark
            found = run_episodes(by_policy, once, seed, folder, name, reporter.stage)
            summary.setdefault("baselines", {})[name] = found
    return summary
