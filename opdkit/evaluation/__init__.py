"""Benchmarks: what is asked, how answers are counted, and how sure the count is. Knows no model."""

from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.episode_runner import run_episodes
from opdkit.evaluation.episodes import EpisodeBenchmark
from opdkit.evaluation.policies import POLICIES, play_policy
from opdkit.evaluation.runner import Answer, run_benchmark, sample_seed

__all__ = [
    "POLICIES",
    "Answer",
    "Benchmark",
    "EpisodeBenchmark",
    "play_policy",
    "run_benchmark",
    "run_episodes",
    "sample_seed",
]
