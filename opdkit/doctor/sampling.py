"""Compares what the sampler and the temperature do to the two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.rows import rollout_rows
from opdkit.data.scores import Scores
from opdkit.doctor.report import Grid, Note, Section, percent
from opdkit.heads.tiles import plan
from opdkit.models import Request

# Positions examined, spread over the rollouts, and how many have their logits per forward pass.
_POSITIONS = 256
_BLOCK = 32
_LITTLE_MASS = 0.5
_SUPPORT_MASS = 0.95


class Scoring(Protocol):
    """A model, student or teacher, that scores the tokens in loss_mask bool[B, T]."""

    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores: ...


@dataclass(frozen=True)
class Setting:
    """sampler: logits f[N, V] -> bool[N, V]; temperature; k: the objective's support, 0 for none."""

    sampler: Callable[[Tensor], Tensor]
    temperature: float
    k: int


def sampling(student: Scoring, teacher: Scoring, rollout: Rollout, setting: Setting) -> Section:
    """Compares both models on prefixes written by the student; all numbers are means over positions."""
    found = means(student, teacher, rollout, setting)
    names = {
        "entropy": "entropy, nats",
        "likeliest": "probability of the most likely id",
        "kept": "ids kept by the sampler",
        "kept_mass": "mass on the ids kept for the student",
        "drawn_kept": "sampled tokens kept",
        "support_mass": f"mass on the teacher's {setting.k} best ids",
    }
    table: list[tuple[str, ...]] = []
    for name, label in names.items():
        if f"student_{name}" in found:
            ours, theirs = found[f"student_{name}"], found[f"teacher_{name}"]
            plain = name in ("entropy", "kept")
            table.append((label, *(f"{value:.3g}" if plain else percent(value) for value in (ours, theirs))))
    mass = found["teacher_kept_mass"]
    told = f"the ids that the sampler keeps for the student hold {percent(mass)} of the teacher's mass"
    far = "the student's prefixes are unlikely for the teacher: shorter rollout.max_new_tokens, or a closer teacher"
    notes = [Note("warning", told, far) if mass < _LITTLE_MASS else Note("ok", told)]
    support = found.get("student_support_mass", 1.0)
    if support < _SUPPORT_MASS:
        told = f"the teacher's {setting.k} best ids hold {percent(support)} of the student's mass"
        notes.append(Note("warning", told, "a larger k="))
    title = f"sampling at temperature {setting.temperature:g}, {int(found['positions'])} positions"
    return Section(title, tuple(notes), (Grid(("", "student", "teacher"), tuple(table)),))


@torch.no_grad()
def means(student: Scoring, teacher: Scoring, rollout: Rollout, setting: Setting) -> dict[str, float]:
    """The numbers `student_*` and `teacher_*` of `sampling`, and `positions`, the number of positions examined."""
    totals: dict[str, Tensor] = {}
    positions = 0
    for tokens, ours, theirs in _blocks(student, teacher, rollout):
        positions += len(tokens)
        allowed = setting.sampler(ours)
        best = theirs.topk(setting.k, dim=-1).indices if setting.k else None
        for who, logits in (("student", ours), ("teacher", theirs)):
            own = allowed if who == "student" else setting.sampler(logits)
            probability = logits.softmax(dim=-1)
            values = {
                "entropy": torch.special.entr(probability).sum(dim=-1),
                "likeliest": probability.amax(dim=-1),
                "kept": own.sum(dim=-1).float(),
                "kept_mass": torch.where(allowed, probability, 0.0).sum(dim=-1),
                "drawn_kept": own.gather(1, tokens[:, None]).float()[:, 0],
            }
            if best is not None:
                values["support_mass"] = probability.gather(1, best).sum(dim=-1)
            for name, value in values.items():
                key = f"{who}_{name}"
                totals[key] = totals.get(key, torch.zeros((), device=value.device)) + value.double().sum()
    return {name: float(total) / max(1, positions) for name, total in totals.items()} | {"positions": float(positions)}


def _blocks(student: Scoring, teacher: Scoring, rollout: Rollout) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Sampled ids i64[n] of some positions, and both models' logits f32[n, V] there, divided by the temperature."""
    per_row = max(1, _POSITIONS // len(rollout.tokens))
    for row in range(len(rollout.tokens)):
        part = rollout_rows(rollout, row, row + 1)
        steps = part.sampled_mask[0].nonzero()[:, 0]
        if len(steps) == 0:
            continue
        chosen = steps[torch.linspace(0, len(steps) - 1, min(per_row, len(steps)), device=steps.device).long()]
        request = Request(vocabulary=True)
        scores = [who.score(part, part.sampled_mask, request) for who in (student, teacher)]
        for start in range(0, len(chosen), _BLOCK):
            block = chosen[start : start + _BLOCK]
            ours, theirs = (_logits(found, block) for found in scores)
            yield part.tokens[0, block], ours, theirs


def _logits(scores: Scores, steps: Tensor) -> Tensor:
    assert scores.hidden is not None
    assert scores.head is not None
    tiling = plan(scores.hidden[0, steps], scores.head, scores.temperature)
    return torch.cat([tile.logits(slice(None)) for tile in tiling.tiles()], dim=-1).float()
