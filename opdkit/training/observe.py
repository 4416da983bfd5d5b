"""Prepares a collected step for diagnostics and samples.jsonl, without duplicate computation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from opdkit.data.table import Table
from opdkit.diagnostics import Diagnostic, Finding, Observation
from opdkit.masking import Pieces
from opdkit.models import LanguageModel
from opdkit.training.step_data import StepData

# Maximum characters of a response in samples.jsonl.
_SAMPLE_LENGTH = 20_000


class StepObserver:
    """Runs diagnostics and extracts samples. Caches the text of the student's tokens."""

    def __init__(self, student: LanguageModel, diagnostics: Mapping[str, Diagnostic]) -> None:
        self._pieces = Pieces(student.tokenizer)
        self._stop_ids = student.stop_ids
        self._diagnostics = diagnostics

    def diagnose(self, collected: StepData) -> Finding:
        """The results of all diagnostics, with scalars under `failure/`, and `time/diagnostics_s`."""
        started = time.perf_counter()
        seen = self._observation(collected)
        scalars: dict[str, float] = {}
        tables: list[Table] = []
        if seen is not None:
            for diagnostic in self._diagnostics.values():
                found = diagnostic(seen)
                scalars |= {f"failure/{name}": value for name, value in found.scalars.items()}
                tables += found.tables
        return Finding(scalars | {"time/diagnostics_s": time.perf_counter() - started}, tuple(tables))

    def samples(self, collected: StepData, count: int) -> list[dict[str, Any]]:
        """The first `count` rollouts as plain values; a log-ratio is null where the teacher has no score."""
        batch = collected.batch
        rollout, teacher = batch.rollout, batch.teacher.sampled_log_prob
        found: list[dict[str, Any]] = []
        for row in range(min(count, len(rollout.tokens))):
            problem, grade = rollout.prompts.problems[row], collected.grades[row]
            ids = rollout.tokens[row, : int(rollout.attention_mask[row].sum())].tolist()
            texts = _within(self._pieces.joined(ids), _SAMPLE_LENGTH)
            loss_mask = batch.loss_mask[row, : len(texts)].tolist()
            ratio: list[float | None] = [None] * len(texts)
            if teacher is not None:
                values = (rollout.behaviour_log_prob[row] - teacher[row])[: len(texts)].tolist()
                ratio = [round(value, 4) + 0.0 if kept else None for value, kept in zip(values, loss_mask, strict=True)]
            found.append(
                {
                    "problem": problem.identifier,
                    "prompt": problem.messages[-1].content,
                    "response": collected.responses[row][:_SAMPLE_LENGTH],
                    "reference": problem.reference,
                    "extracted": grade.extracted,
                    **({"status": grade.status} if grade.status != "ok" else {}),
                    "reward": grade.reward,
                    "stop_reason": rollout.stop_reason[row],
                    "tokens": int(rollout.sampled_mask[row].sum()),
                    "token_texts": texts,
                    "log_ratio": ratio,
                    "counted": loss_mask,
                }
            )
        return found

    def _observation(self, collected: StepData) -> Observation | None:
        batch = collected.batch
        teacher = batch.teacher
        if teacher.sampled_log_prob is None:
            return None
        return Observation(
            batch.rollout,
            batch.loss_mask.cpu().numpy(),
            _host(batch.rollout.behaviour_log_prob),
            _host(teacher.sampled_log_prob),
            None if teacher.entropy is None else _host(teacher.entropy),
            self._stop_ids,
            self._pieces.of,
        )


def _host(values: Tensor) -> Any:
    return values.detach().double().cpu().numpy()


def _within(texts: list[str], limit: int) -> list[str]:
    """The longest prefix of the texts with at most `limit` characters in total."""
    total = 0
    for place, text in enumerate(texts):
        total += len(text)
        if total > limit:
            return texts[:place]
    return texts
