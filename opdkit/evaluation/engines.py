"""Opens the engine that answers one evaluation, with the lengths that its benchmarks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.episodes import EpisodeBenchmark
from opdkit.generation import Engine, EngineSpec, EpisodeRollout, HFRollout, VLLMRollout
from opdkit.models import LanguageModel


@dataclass(frozen=True)
class EngineLimits:
    """What an evaluation says of its engine.

    Attributes:
        max_prompt_tokens: longer prompts are not asked.
        batch_size: responses generated at a time in this process.
        cache_gib: fewer at a time where their keys and values would take more.
    """

    max_prompt_tokens: int
    batch_size: int
    cache_gib: float


def writes_here(spec: EngineSpec) -> bool:
    """Whether the engine computes in this process, so that the model has to be on the accelerator."""
    return spec.in_process() == spec


def open_engine(
    spec: EngineSpec, limits: EngineLimits, benchmarks: Sequence[Benchmark | EpisodeBenchmark], model: LanguageModel
) -> Engine:
    """One engine for all benchmarks, with the model's weights. Called by all processes of the run, for one may be left
    without a request later on. Raises UserError as `EngineSpec.open` does."""
    if isinstance(spec, EpisodeRollout):
        spec = spec.engine or HFRollout(spec.max_new_tokens, spec.max_prompt_tokens)
    longest = max(benchmark.max_new_tokens for benchmark in benchmarks)
    if isinstance(spec, HFRollout):
        spec = HFRollout(longest, limits.max_prompt_tokens, limits.batch_size, cache_gib=limits.cache_gib)
    elif isinstance(spec, VLLMRollout):
        prompt = max(_longest_prompt(benchmark, model, limits.max_prompt_tokens) for benchmark in benchmarks)
        spec = replace(spec, max_new_tokens=longest, max_prompt_tokens=prompt)
    engine = spec.open(model)
    try:
        engine.refresh(model, 0)
    except BaseException:
        engine.close()
        raise
    return engine


def _longest_prompt(benchmark: Benchmark | EpisodeBenchmark, model: LanguageModel, limit: int) -> int:
    """In tokens, of those that are asked. A server reserves room for it, and has no more positions than its model."""
    if isinstance(benchmark, EpisodeBenchmark):
        return limit
    lengths = [len(model.render(problem.messages)) for problem in benchmark.problems()]
    return max((length for length in lengths if length <= limit), default=1)
