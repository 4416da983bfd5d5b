"""How fast answers are generated and graded: `python scripts/results/evaluation_speed.py [--rounds 3] [--threads 2]`.

Generation: `opdkit eval benchmark=chain_sum` (256 problems, greedy, including grading and files) and transformers'
`generate` in batches of 8, alternating in one process, for each model of the embedded pair; the two must give the same
answers. Grading: 10,000 answers, one in fifty of them adversarial.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch

from opdkit.config.build import Origin, build_evaluation
from opdkit.config.compose import Source, compose
from opdkit.data.problem import Problem
from opdkit.evaluation import Answer, Asking, Benchmark, BenchmarkGenerator, open_engine, run_benchmark
from opdkit.generation import Sampling
from opdkit.grading.grade import grade_mathematics
from opdkit.models import LanguageModel, load
from opdkit.training.experiment import Evaluation

PEER_BATCH = 8
HOSTILE = (
    "9**9**9**9", "9^{9^{9^9}}", "99999999!", r"\binom{999999}{4444}", r"\sum_{i=1}^{9999} \frac{1}{i^{99}}",
    "(x+1)^{9999}", "{" * 100_000, r"\frac{1}{" * 11 + "1" + "}" * 11, "[" * 1_000_000,
    r"\cup".join(f"({i},{i + 1})" for i in range(70)),
)  # fmt: skip
# Kinds of gold answers with another notation of each, both from a number.
KINDS: tuple[tuple[Callable[[int], str], Callable[[int], str]], ...] = (
    (lambda n: rf"\frac{{{n}}}{{7}}", lambda n: rf"\frac{{{2 * n}}}{{14}}"),
    (lambda n: f"{n}", lambda n: f"{n:,}"),
    (lambda n: rf"\sqrt{{{n}}}+1", lambda n: rf"1+\sqrt{{{n}}}"),
    (lambda n: f"x={n}", lambda n: f"{n}.0"),
    (lambda n: f"({n},2)", lambda n: f"({n}, 2.0)"),
    (lambda n: f"(x+{n})(x-1)", lambda n: f"x^2+{n - 1}x-{n}"),
    (lambda n: rf"{n}\text{{ cm}}", lambda n: f"{n}"),
    (lambda n: rf"{n}\pi", lambda n: rf"\pi\cdot{n}"),
)


def evaluation(name: str) -> Evaluation:
    """`opdkit eval benchmark=chain_sum` with a model of the embedded pair."""
    overrides = ["benchmark=chain_sum", f"model.path=embedded/{name}"]
    return build_evaluation(compose(Source("eval"), overrides), Origin(overrides, {}, Source("eval").folders))


def problems_of(given: Evaluation) -> Benchmark:
    """The benchmark, checked to be of problems."""
    assert isinstance(given.benchmark, Benchmark)
    return given.benchmark


def ours(given: Evaluation, model: LanguageModel) -> list[str]:
    """All answers through the benchmark, with grading and files."""
    benchmark = problems_of(given)
    engine = open_engine(given.rollout, given.limits, [benchmark], model)
    asking = Asking(engine, model, given.limits.max_prompt_tokens, given.seed, Path(), print)
    writer = BenchmarkGenerator(asking, Sampling(benchmark.temperature, benchmark.sampler), benchmark.max_new_tokens)
    texts: list[str] = []

    def kept(problems: Sequence[Problem], seeds: Sequence[int]) -> Sequence[Answer]:
        answers = writer(problems, seeds)
        texts.extend(answer.text for answer in answers)
        return answers

    with tempfile.TemporaryDirectory() as folder:
        run_benchmark(kept, benchmark, given.seed, Path(folder))
    return texts


@torch.no_grad()
def peer(given: Evaluation, model: LanguageModel) -> list[str]:
    """All answers from `generate` in batches of 8 in the problems' order, without grading."""
    tokenizer, texts = model.tokenizer, []
    prompts = [model.render(problem.messages) for problem in problems_of(given).problems()]
    for start in range(0, len(prompts), PEER_BATCH):
        batch = tokenizer.pad(
            {"input_ids": prompts[start : start + PEER_BATCH]}, padding_side="left", return_tensors="pt"
        )
        written = model.module.generate(
            **batch, do_sample=False, max_new_tokens=given.benchmark.max_new_tokens, pad_token_id=model.pad_id,
            eos_token_id=sorted(model.stop_ids),
        )  # fmt: skip
        texts += [model.decode(row) for row in written[:, batch["input_ids"].shape[1] :].tolist()]
    return texts


def timed(call: Callable[..., list[str]], *arguments: object) -> tuple[float, list[str]]:
    """Seconds and the answers."""
    started = time.perf_counter()
    answers = call(*arguments)
    return time.perf_counter() - started, answers


def writing(name: str, rounds: int) -> None:
    """One table row: responses per second of both, their ratio, and whether they agree."""
    given = evaluation(name)
    model = load(given.model)
    warm = [call(given, model) for call in (ours, peer)]
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(rounds):
        seconds["ours"].append(timed(ours, given, model)[0])
        seconds["peer"].append(timed(peer, given, model)[0])
    count, same = len(warm[0]), sum(a == b for a, b in zip(*warm, strict=True))
    rates = {side: count / median(times) for side, times in seconds.items()}
    ratios = [theirs / own for own, theirs in zip(seconds["ours"], seconds["peer"], strict=True)]
    print(
        f"| {name} | {rates['ours']:.1f} | {rates['peer']:.1f} | {median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}) | {same} of {count} |"
    )


def grading(count: int) -> None:
    """Answers per second: distinct golds of eight kinds; half of the answers correct in another notation."""
    pairs: list[tuple[str, str]] = []
    for number in range(count):
        gold, other = KINDS[number % len(KINDS)]
        wanted = number + number // len(KINDS) % 2  # every second one of a kind is off by one
        answer = HOSTILE[number // 50 % len(HOSTILE)] if number % 50 == 0 else other(wanted)
        pairs.append((f"step by step\n\\boxed{{{answer}}}", gold(number)))
    grade_mathematics([("\\boxed{x+x}", "2x")])  # start the workers
    started = time.perf_counter()
    verdicts = grade_mathematics(pairs)
    seconds = time.perf_counter() - started
    right = sum(bool(verdict.correct) for verdict in verdicts)
    given_up = sum(verdict.status in ("timeout", "crashed") for verdict in verdicts)
    print(f"{count} answers in {seconds:.1f} s: {count / seconds:.0f} per second; {right} right, {given_up} given up")


def main() -> None:
    """Both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds per side, after a warm-up")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads, {os.cpu_count()} cores\n")
    print("| model | opdkit, responses/s | transformers, responses/s | ratio (least to most) | same answers |")
    print("|---|---:|---:|---:|---:|")
    for name in ("student", "teacher"):
        writing(name, given.rounds)
    print()
    grading(10_000)


if __name__ == "__main__":
    main()
