"""Opens the engine of an evaluation, with the lengths that its benchmarks need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.episodes import EpisodeBenchmark
from opdkit.generation import Engine, EngineSpec, EpisodeRollout, HFRollout, VLLMRollout
from opdkit.models import LanguageModel


@dataclass(frozen=True)
class EngineLimits:
    """Limits that an evaluation sets for its engine.

    Attributes:
        max_prompt_tokens: longer prompts are dropped.
        batch_size: responses generated at a time in this process.
        cache_gib: KV-cache limit, GiB; smaller batches where needed.
    """

    max_prompt_tokens: int
    batch_size: int
    cache_gib: float


def writes_here(spec: EngineSpec) -> bool:
    """Whether the engine runs in this process, so that the model must be on the accelerator."""
    return spec.in_process() == spec


def open_engine(
    spec: EngineSpec, limits: EngineLimits, benchmarks: Sequence[Benchmark | EpisodeBenchmark], model: LanguageModel
) -> Engine:
    """One engine for all benchmarks, with the model's weights. Called by all processes of the run, since one may get no
    request later. Raises UserError like `EngineSpec.open`."""
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
    """Longest prompt in use, in tokens. A server reserves memory for it and is limited by the model's positions."""
    if isinstance(benchmark, EpisodeBenchmark):
        return limit
    lengths = [len(model.render(problem.messages)) for problem in benchmark.problems()]
    return max((length for length in lengths if length <= limit), default=1)
