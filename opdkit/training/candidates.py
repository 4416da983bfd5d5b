"""Generates several teacher responses per prompt and keeps the best one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Rollout
from opdkit.generation import Ask, Completion, Engine, Turn, pack
from opdkit.models import LanguageModel, Request
from opdkit.rewards.base import GradePairs
from opdkit.seeding import derive_seed
from opdkit.teachers import score_in_batches
from opdkit.training.best_of import BestOf, Candidate, Chosen, choose, share_among
from opdkit.training.policy import Policy
from opdkit.world.world import World

Asked = tuple[Problem, list[int]]
"""A problem and its prompt ids."""


@dataclass(frozen=True)
class Selection:
    """One response per prompt, and metrics of the selection."""

    completions: tuple[Completion, ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class CandidateWriter:
    """Generates, grades, aligns and selects responses.

    Attributes:
        spec: the selection settings.
        engine: the teacher's engine.
        policy: the student, for the alignment.
        grade: the task's own grader.
        seed: the sampling seed.
        batch: the micro-batch size.
        max_prompt_tokens: the maximum length of a hinted prompt; longer ones are skipped.
        max_new_tokens: the maximum length of a response.
    """

    spec: BestOf
    engine: Engine
    policy: Policy
    grade: GradePairs
    seed: int
    batch: MicroBatch
    max_prompt_tokens: int
    max_new_tokens: int

    def __call__(self, step: int, asked: Sequence[Asked], own: Rollout | None) -> Selection:
        """One response to each of `asked`. own: the student's rollouts of the step, the same number per prompt."""
        count = self.spec.count
        repeated = [pair for pair in asked for _ in range(count)]
        written = self._write(step, "candidates", repeated)
        right = self._right(repeated, written)
        aligned = self._alignments(repeated, written, own, copies=count)
        candidates = [Candidate(*one) for one in zip(written, right, aligned, strict=True)]
        groups = [candidates[i : i + count] for i in range(0, len(candidates), count)]
        failed = [place for place, group in enumerate(groups) if not any(one.right for one in group)]
        hinted = self._hinted(step, asked, failed)
        chosen = [choose(group, hinted.get(place)) for place, group in enumerate(groups)]
        return Selection(tuple(one.candidate.completion for one in chosen), self._metrics(candidates, hinted, chosen))

    def _write(self, step: int, use: str, asked: Sequence[Asked]) -> list[Completion]:
        asks = [
            Ask(tuple(ids), derive_seed(self.seed, use, step, row), self.max_new_tokens)
            for row, (_, ids) in enumerate(asked)
        ]
        if not asks:
            return []
        return World.current().shared(asks, lambda part: self.engine.generate(part, self.spec.sampling))

    def _right(self, asked: Sequence[Asked], written: Sequence[Completion]) -> list[bool]:
        texts = [self._model.decode(list(completion.ids)) for completion in written]
        graded = self.grade([(text, problem.reference) for text, (problem, _) in zip(texts, asked, strict=True)])
        return [bool(grade.correct) for grade in graded]

    def _hinted(self, step: int, asked: Sequence[Asked], failed: Sequence[int]) -> dict[int, Candidate]:
        """The teacher's hinted responses to the prompts `failed`, by their index."""
        shown: dict[int, Asked] = {}
        for place in failed:
            turns = self.spec.hinted(asked[place][0])
            ids = [] if turns is None else self._render(turns)
            if turns is not None and len(ids) <= self.max_prompt_tokens:
                shown[place] = (asked[place][0], ids)
        written = self._write(step, "hinted", list(shown.values()))
        right = self._right(list(shown.values()), written) if written else []
        return {place: Candidate(c, r, 0.0) for place, c, r in zip(shown, written, right, strict=True)}

    @torch.no_grad()
    def _alignments(
        self, asked: Sequence[Asked], written: Sequence[Completion], own: Rollout | None, copies: int
    ) -> list[float]:
        tokens = [torch.tensor(completion.ids, dtype=torch.long) for completion in written]
        if self.spec.alignment == "teacher_forced":
            rows = [(Turn(tuple(ids), c),) for (_, ids), c in zip(asked, written, strict=True)]
            best = self._best_ids(pack(self._model, rows, [problem for problem, _ in asked], "teacher"))
            return [share_among(row, ids) for row, ids in zip(tokens, best, strict=True)]
        assert own is not None  # bind_terms requires the student's rollouts
        best = self._best_ids(own)
        siblings = len(best) * copies // len(written)
        aligned: list[float] = []
        for row, one in enumerate(tokens):
            first = row // copies * siblings
            shares = [share_among(one, ids) for ids in best[first : first + siblings]]
            aligned.append(sum(shares) / len(shares))
        return aligned

    def _best_ids(self, rollout: Rollout) -> list[Tensor]:
        """The student's top k ids at each token of each row, i64[n, k] on the CPU."""
        request = Request(top_k=min(self.spec.k, self._model.vocabulary))
        scores = score_in_batches(self.policy.score, rollout, rollout.sampled_mask, request, self.batch)
        assert scores.support_ids is not None
        return [ids[mask].cpu() for ids, mask in zip(scores.support_ids, rollout.sampled_mask, strict=True)]

    @property
    def _model(self) -> LanguageModel:
        return self.policy.model

    @property
    def _render(self) -> Callable[[Sequence[Message]], list[int]]:
        return self._model.render

    def _metrics(
        self, candidates: Sequence[Candidate], hinted: Mapping[int, Candidate], chosen: Sequence[Chosen]
    ) -> dict[str, float]:
        prompts = len(chosen)
        tiers = {
            f"best_of/tier_{tier}": sum(one.tier == tier for one in chosen) / prompts for tier in (1, 2, 3)
        }  # fmt: skip
        plain = [one.candidate.alignment for one in chosen if one.tier != 2]
        return tiers | {
            "best_of/right": sum(one.right for one in candidates) / len(candidates),
            "best_of/hinted": len(hinted) / prompts,
            "best_of/alignment_mean": sum(one.alignment for one in candidates) / len(candidates),
            "best_of/alignment_chosen": sum(plain) / len(plain) if plain else 0.0,
        }
