"""Benchmarks: what is asked, how answers are counted, and how sure the count is. Knows no model."""

from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.runner import Answer, run_benchmark, sample_seed

__all__ = ["Answer", "Benchmark", "run_benchmark", "sample_seed"]
