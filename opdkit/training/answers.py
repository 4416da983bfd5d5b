"""A model as the callable that a benchmark asks: problems and seeds in, answers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from opdkit.evaluation import Answer, run_benchmark
from opdkit.models import LanguageModel
from opdkit.reporting.terminal import Reporter
from opdkit.rollout import HFRollout
from opdkit.types import Problem


@dataclass(frozen=True)
class AnswerWriter:
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
        lengths = rollout.mask.sum(dim=1).tolist()
        for place, row, length, reason in zip(fits, rollout.tokens.tolist(), lengths, rollout.stop_reason, strict=True):
            answers[place] = Answer(self.model.decode(row[:length]), length, reason == "length")
        return answers


def ask(
    model: LanguageModel, benchmark: Any, rollout: HFRollout, accelerator: Accelerator, seed: int, folder: Path,
    reporter: Reporter,
) -> dict[str, Any]:  # fmt: skip
    """The summary of `model` on `benchmark`, written to `folder`."""
    sized = replace(rollout, max_new_tokens=benchmark.max_new_tokens)
    writer = AnswerWriter(model, sized, benchmark.sampler, benchmark.temperature, accelerator)
    return run_benchmark(writer, benchmark, seed, folder, reporter.stage)
