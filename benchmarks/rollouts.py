"""`python -m benchmarks.rollouts MODEL ENV/bin/python`: rollouts by vLLM alone, by `rollout=vllm`, and by this process.

ENV has vLLM. All use the same prompts, settings and one seed per row; the first repeat is discarded. Also measures the
time to send new weights to vLLM, compared with writing them to a file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from opdkit.generation import Ask, Engine, HFRollout, Sampling, VLLMRollout
from opdkit.generation.weights import WeightsFolder
from opdkit.models import LanguageModel, ModelSpec, load
from opdkit.samplers import Ancestral

_PROMPT_TOKENS = 64
_OPTIONS = ("--dtype", "float32", "--enforce-eager", "--max-logprobs", "1")
_COST_GOAL, _REFRESH_GOAL = 1.05, 2.0


def prompts_for(model: LanguageModel, rows: int) -> list[tuple[int, ...]]:
    """Ids drawn uniformly from the vocabulary."""
    source = torch.Generator().manual_seed(0)
    return [tuple(row) for row in torch.randint(0, model.vocabulary, (rows, _PROMPT_TOKENS), generator=source).tolist()]


def rate_of(engine: Engine, prompts: Sequence[tuple[int, ...]], tokens: int, repeats: int) -> float:
    """Tokens per second, the median over repeats."""
    rates: list[float] = []
    for repeat in range(repeats + 1):
        asks = [Ask(ids, 1000 * repeat + row, tokens) for row, ids in enumerate(prompts)]
        started = time.perf_counter()
        completions = engine.generate(asks, Sampling(1.0, Ancestral(), entropy=False))
        rates.append(sum(len(one.ids) for one in completions) / (time.perf_counter() - started))
    return statistics.median(rates[1:])


def alone(model: Path, python: str, prompts: Sequence[tuple[int, ...]], tokens: int, repeats: int) -> float:
    """Tokens per second of vLLM without opdkit."""
    job = {"prompts": prompts, "max_tokens": tokens, "repeats": repeats + 1}
    script = Path(__file__).with_name("vllm_alone.py")
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        done = subprocess.run(
            [python, "-I", str(script), str(model), str(answer)],
            input=json.dumps(job), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
        found = json.loads(answer.read_text())
    return statistics.median(count / seconds for seconds, count in found[1:])


def timed(work: Callable[[], None]) -> float:
    """The seconds it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def refreshes(engine: Engine, model: LanguageModel, repeats: int) -> tuple[float, float]:
    """Median seconds until new weights are at the servers and verified, and of save_pretrained into shared memory."""
    folder = WeightsFolder(None)

    def save() -> None:
        model.module.save_pretrained(folder.path)

    try:
        pairs = [(timed(lambda v=version: engine.refresh(model, v)), timed(save)) for version in range(1, repeats + 2)]
    finally:
        folder.remove()
    handed, written = zip(*pairs[1:], strict=True)
    return statistics.median(handed), statistics.median(written)


def main(arguments: Sequence[str]) -> int:
    """Prints four lines of results."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.rollouts", description=__doc__)
    options.add_argument("model", type=Path)
    options.add_argument("python")
    options.add_argument("--rows", type=int, default=64)
    options.add_argument("--tokens", type=int, default=128)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args(list(arguments))
    os.environ.update({"VLLM_CPU_KVCACHE_SPACE": "2", "TORCHDYNAMO_DISABLE": "1"})
    model = load(ModelSpec(str(chosen.model)), "cpu")
    prompts = prompts_for(model, chosen.rows)
    longest = (chosen.tokens, _PROMPT_TOKENS, chosen.rows)
    ours = rate_of(HFRollout(*longest).open(model), prompts, chosen.tokens, chosen.repeats)
    bare = alone(chosen.model, chosen.python, prompts, chosen.tokens, chosen.repeats)
    engine = VLLMRollout(*longest, python=chosen.python, options=_OPTIONS).open(model)
    try:
        served = rate_of(engine, prompts, chosen.tokens, chosen.repeats)
        handed, written = refreshes(engine, model, chosen.repeats)
    finally:
        engine.close()
    print(f"{chosen.rows} rows of {chosen.tokens} tokens, tokens per second (medians of {chosen.repeats}):")
    print(f"  rollout=hf {ours:.0f}, vLLM alone {bare:.0f}, rollout=vllm {served:.0f}")
    print(f"  rollout=vllm takes {bare / served:.3f} times as long as vLLM alone (goal {_COST_GOAL})")
    print(f"  new weights {handed:.2f} s, {handed / written:.2f} times their save_pretrained (goal {_REFRESH_GOAL})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
