"""Benchmarks: problems, scoring and confidence intervals."""

from opdkit.evaluation.asking import Asking, BenchmarkGenerator, evaluate_on
from opdkit.evaluation.benchmark import Benchmark, same_answers
from opdkit.evaluation.chunked import sample_seed
from opdkit.evaluation.engines import EngineLimits, open_engine, writes_here
from opdkit.evaluation.episode_runner import run_episodes
from opdkit.evaluation.episodes import EpisodeBenchmark
from opdkit.evaluation.policies import POLICIES
from opdkit.evaluation.recorded import lay_recorded
from opdkit.evaluation.runner import Answer, run_benchmark

__all__ = [
    "POLICIES",
    "Answer",
    "Asking",
    "Benchmark",
    "BenchmarkGenerator",
    "EngineLimits",
    "EpisodeBenchmark",
    "evaluate_on",
    "lay_recorded",
    "open_engine",
    "run_benchmark",
    "run_episodes",
    "same_answers",
    "sample_seed",
    "writes_here",
]
