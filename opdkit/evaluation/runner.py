"""Runs a benchmark with any answer generator: generates, grades, saves every response, summarises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from opdkit.data.grade import PROGRAM_FAULTS, mean_parts
from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.evaluation.benchmark import Benchmark
from opdkit.evaluation.chunked import Asked, Request, collect_rows, requests_of
from opdkit.evaluation.responses import Row
from opdkit.evaluation.statistics import bootstrap_interval, majority_correct, pass_at_k, powers_of_two, standard_error
from opdkit.files import write_whole
from opdkit.grading.normal_form import normal_form
from opdkit.seeding import derive_seed
from opdkit.world.world import World


@dataclass(frozen=True)
class Answer:
    """A response: its text, its length in tokens (stop token included), and whether the length limit truncated it."""

    text: str
    tokens: int
    truncated: bool


Generate = Callable[[Sequence[Problem], Sequence[int]], Sequence[Answer]]


def run_benchmark(
    generate: Generate, benchmark: Benchmark, seed: int, folder: Path, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The benchmark's summary, also written to `folder`/<name>.json.

    generate: problems and one seed each -> one answer each, in order. Responses are appended to
    `folder`/<name>.responses.jsonl in chunks: called again with the same settings and folder, this resumes after the
    last complete row. progress: callback with a progress message.
    Raises UserError if the folder holds responses of other settings, RunError if it cannot be written.
    """
    problems = list(benchmark.problems())
    if not problems:
        raise UserError(f"benchmark {benchmark.name} has no problems")
    requests = requests_of(problems, benchmark.n_samples, seed)
    settings = settings_of(benchmark, seed, problems)
    asked = Asked(benchmark.name, "problem", "responses", settings, requests, benchmark.chunk)
    rows = collect_rows(asked, partial(_answer, generate, benchmark), folder, progress)
    summary = summarise(rows, benchmark, seed)
    if World.current().main:
        write_whole(folder / f"{benchmark.name}.json", json.dumps(summary, indent=2) + "\n")
    return summary


def settings_of(benchmark: Benchmark, seed: int, problems: Sequence[Problem]) -> dict[str, object]:
    """The settings under which rows belong to this evaluation."""
    digest = hashlib.sha256()
    for problem in problems:
        turns = [(message.role, message.content) for message in problem.messages]
        digest.update(repr((problem.identifier, turns, problem.reference)).encode())
    return {
        "benchmark": benchmark.name,
        "n_samples": benchmark.n_samples,
        "seed": seed,
        **benchmark.protocol(),
        "problems": digest.hexdigest(),
    }


def _answer(generate: Generate, benchmark: Benchmark, requests: Sequence[Request[Problem]]) -> list[Row]:
    answers = generate([request.item for request in requests], [request.seed for request in requests])
    if len(answers) != len(requests):
        raise ValueError(f"{len(requests)} answers were asked for and {len(answers)} came")
    pairs = [(answer.text, request.item.reference) for answer, request in zip(answers, requests, strict=True)]
    grades = benchmark.chosen_source.grade(pairs)
    return [
        {
            "problem": request.item.identifier,
            "sample": request.sample,
            "seed": request.seed,
            "text": answer.text,
            "reference": request.item.reference,
            "extracted": grade.extracted,
            "correct": grade.correct,
            "status": grade.status,
            **({"parts": dict(grade.parts)} if grade.parts else {}),
            "tokens": answer.tokens,
            "truncated": answer.truncated,
        }
        for request, answer, grade in zip(requests, answers, grades, strict=True)
    ]


def summarise(rows: Sequence[Row], benchmark: Benchmark, seed: int) -> dict[str, Any]:
    """The summary of a finished evaluation; `rows` hold n_samples responses per problem, grouped by problem."""
    samples = benchmark.n_samples
    correct = np.array([row["correct"] for row in rows], dtype=bool).reshape(-1, samples)
    accuracy = correct.mean(axis=1)
    votes = [None if row["extracted"] is None else normal_form(row["extracted"]) for row in rows]
    majority = [
        majority_correct(votes[start : start + samples], correct[start // samples].tolist())
        for start in range(0, len(rows), samples)
    ]
    statuses = [row["status"] for row in rows]
    low, high = bootstrap_interval(accuracy, derive_seed(seed, "bootstrap", benchmark.name))
    parts = mean_parts([row["parts"] for row in rows if "parts" in row])
    passes = sorted({*powers_of_two(samples), *benchmark.pass_at})
    return {
        "benchmark": benchmark.name,
        "n_problems": len(correct),
        "n_samples": samples,
        **{f"pass@{k}": float(pass_at_k(correct, k).mean()) for k in passes},
        "ci95": [low, high],
        "standard_error": standard_error([accuracy]),
        f"avg@{samples}": float(accuracy.mean()),
        f"majority@{samples}": float(np.mean(majority)),
        "truncated_fraction": float(np.mean([row["truncated"] for row in rows])),
        "response_tokens_mean": float(np.mean([row["tokens"] for row in rows])),
        "n_no_answer": statuses.count("no_answer"),
        "n_timeouts": statuses.count("timeout"),
        "n_not_graded": sum(status not in ("ok", "no_answer", *PROGRAM_FAULTS) for status in statuses),
        **({"parts": parts} if parts else {}),
        "seed": seed,
        "protocol": benchmark.protocol(),
        "responses": f"{benchmark.name}.responses.jsonl",
    }
