"""Per-token metrics of a step: probability masses, overlap, log-ratio, entropies (Section 4 of the paper)."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.world.world import World

_ALONE = World()


@torch.no_grad()
def token_metrics(rollout: Rollout, student: Scores, teacher: Scores) -> dict[str, Tensor]:
    """Name -> f32[B, T], one value per token, for the metrics that the two scores allow.

    student_mass, teacher_mass: probability of each model on the support (needs logsumexp).
    outside_support: 1 where the sampled token is not in the support.
    overlap: fraction of the teacher's top ids that are among the student's top ids, equally many of each.
    log_ratio_mean: log pi - log q of the sampled token, in nats; its mean estimates KL(pi || q).
    positive_fraction: 1 where the advantage log q - log pi is above 0.
    student_entropy (of the student that sampled the rollout) and teacher_entropy, in nats.
    """
    found: dict[str, Tensor] = {}
    if rollout.entropy is not None:
        found["student_entropy"] = rollout.entropy
    if teacher.entropy is not None:
        found["teacher_entropy"] = teacher.entropy
    for name, scores in (("student_mass", student), ("teacher_mass", teacher)):
        if scores.support_logits is not None and scores.logsumexp is not None:
            found[name] = _mass(scores, teacher.support_mask)
    if teacher.support_ids is not None:
        inside = teacher.support_ids == rollout.tokens[..., None]
        if teacher.support_mask is not None:
            inside = inside & teacher.support_mask
        found["outside_support"] = 1.0 - inside.any(dim=-1).float()
    if student.top_ids is not None and teacher.top_ids is not None:
        found["overlap"] = _overlap(student.top_ids, teacher.top_ids)
    if student.sampled_log_prob is not None and teacher.sampled_log_prob is not None:
        ratio = student.sampled_log_prob.detach() - teacher.sampled_log_prob
        found |= {"log_ratio_mean": ratio, "positive_fraction": (ratio < 0).float()}
    return found


def _mass(scores: Scores, mask: Tensor | None) -> Tensor:
    assert scores.support_logits is not None
    assert scores.logsumexp is not None
    probability = (scores.support_logits.detach() - scores.logsumexp[..., None]).exp()
    return (probability if mask is None else probability.masked_fill(~mask, 0.0)).sum(dim=-1)


def _overlap(student_ids: Tensor, teacher_ids: Tensor) -> Tensor:
    """f32[B, T] from i64[B, T, K] each; a sorted search avoids a [B, T, K, K] comparison."""
    ordered = student_ids.sort(dim=-1).values
    place = torch.searchsorted(ordered.contiguous(), teacher_ids.contiguous()).clamp(max=ordered.shape[-1] - 1)
    return (ordered.gather(-1, place) == teacher_ids).float().mean(dim=-1)


class TokenMeans:
    """Means of per-token metrics over the unmasked tokens of a step, accumulated over micro-batches."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}

    def add(self, metrics: dict[str, Tensor], mask: Tensor) -> None:
        """Add metrics f32[b, t] each at the tokens in mask bool[b, t]."""
        for name, value in metrics.items():
            total = torch.where(mask, value.detach().double(), 0.0).sum()
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._counts[name] = self._counts.get(name, 0) + mask.sum()

    def means(self, world: World = _ALONE) -> dict[str, float]:
        """Name -> mean over the tokens of all ranks of `world`; metrics without any token are omitted."""
        sums, counts = self._sums, self._counts
        if world.size > 1:
            names = list(dict.fromkeys(name for own in world.gathered(list(sums)) for name in own))
            table = [[float(found.get(name, 0.0)) for name in names] for found in (sums, counts)]
            both = world.sum(torch.tensor(table, dtype=torch.float64))
            sums, counts = (dict(zip(names, values, strict=True)) for values in both)
        return {n: float(s / counts[n]) for n, s in sums.items() if int(counts[n]) > 0}
