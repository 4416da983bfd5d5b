"""Generates a model's answers or trajectories on a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from opdkit.data.episode import Trajectory
from opdkit.data.problem import Problem
from opdkit.environments import EnvironmentPool, Episode
from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.episode_runner import run_episodes
from opdkit.evaluation.episodes import EpisodeBenchmark
from opdkit.evaluation.policies import POLICIES
from opdkit.evaluation.runner import Answer, run_benchmark
from opdkit.generation import Ask, Engine, ModelPolicy, Policy, Sampling, play
from opdkit.models import LanguageModel


@dataclass(frozen=True)
class Asking:
    """The engine of an evaluation and where results go.

    Attributes:
        engine: generates the answers.
        renderer: the model whose chat template and tokenizer are used.
        max_prompt_tokens: longer prompts get an empty, truncated answer, which counts as wrong.
        seed: seed of the evaluation.
        folder: folder for responses and summary.
        progress: callback with a progress message.
    """

    engine: Engine
    renderer: LanguageModel
    max_prompt_tokens: int
    seed: int
    folder: Path
    progress: Callable[[str], None]


@dataclass(frozen=True)
class BenchmarkGenerator:
    """Generates answers with a benchmark's own sampler, temperature and length limit."""

    asking: Asking
    sampling: Sampling
    max_new_tokens: int

    def __call__(self, problems: Sequence[Problem], seeds: Sequence[int]) -> list[Answer]:
        """One answer per problem, in order."""
        renderer = self.asking.renderer
        rendered = [tuple(renderer.render(problem.messages)) for problem in problems]
        fits = [i for i, ids in enumerate(rendered) if len(ids) <= self.asking.max_prompt_tokens]
        answers = [Answer(text="", tokens=0, truncated=True) for _ in problems]
        asks = [Ask(rendered[i], seeds[i], self.max_new_tokens) for i in fits]
        completions = self.asking.engine.generate(asks, self.sampling) if asks else []
        for index, one in zip(fits, completions, strict=True):
            text = renderer.decode(one.ids)
            kept = cut_at(text, self.sampling.stop)
            answers[index] = Answer(kept, len(one.ids), one.stop_reason == "length" and kept == text)
        return answers


def cut_at(text: str, stop: Sequence[str]) -> str:
    """The text up to the first of the stop strings."""
    places = [place for string in stop if (place := text.find(string)) >= 0]
    return text[: min(places)] if places else text


def evaluate_on(
    asking: Asking, benchmark: Benchmark | EpisodeBenchmark, baselines: Sequence[str] = ()
) -> dict[str, Any]:
    """The summary of a model on `benchmark`, written to the folder.

    baselines: for episode benchmarks, policies that play the same games; their summaries are included.
    """
    stop = () if isinstance(benchmark, EpisodeBenchmark) else tuple(benchmark.stop)
    sampling = Sampling(benchmark.temperature, benchmark.sampler, log_prob=False, entropy=False, stop=stop)
    if isinstance(benchmark, EpisodeBenchmark):
        return _play(asking, benchmark, sampling, baselines)
    generator = BenchmarkGenerator(asking, sampling, benchmark.max_new_tokens)
    return run_benchmark(generator, benchmark, asking.seed, asking.folder, asking.progress)


def _play(asking: Asking, benchmark: EpisodeBenchmark, sampling: Sampling, baselines: Sequence[str]) -> dict[str, Any]:
    """A model's episodes, then those of the baseline policies in the same games."""
    with benchmark.open_games() as games:

        def by_model(episodes: Sequence[tuple[Episode, int]]) -> list[Trajectory]:
            limits = (benchmark.max_new_tokens, asking.max_prompt_tokens)
            policy = ModelPolicy(asking.engine, asking.renderer, games.source, sampling, *limits)
            return _trajectories(policy, games, episodes)

        summary = run_episodes(by_model, benchmark, asking.seed, asking.folder, progress=asking.progress)
        for name in baselines:
            policy = POLICIES[name]
            by_policy = partial(_trajectories, policy, games)
            once = replace(benchmark, n_samples=1) if policy.uses_gold else benchmark
            found = run_episodes(by_policy, once, asking.seed, asking.folder, name, asking.progress)
            summary.setdefault("baselines", {})[name] = found
    return summary


def _trajectories(policy: Policy, games: EnvironmentPool, episodes: Sequence[tuple[Episode, int]]) -> list[Trajectory]:
    return [state.trajectory() for state in play(policy, games, episodes)]
