"""Computes the teacher's distribution over the student's vocabulary before each token of a response."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from opdkit.tokenization.byte_prefix import BytePrefixMap
from opdkit.tokenization.placement import Placement


def student_log_mass(
    prefixes: BytePrefixMap,
    log_prob: Tensor,
    teacher_ids: Sequence[int],
    student_ids: Sequence[int],
    placements: Sequence[Placement],
) -> Tensor:
    """log mass f[n, V_student + 1] before each of the student's n tokens, the residual last; exp of a row sums to 1.

    log_prob f[m, V_teacher] before each of the teacher's m tokens; placements: n of them. A sampled token crossing a
    teacher boundary takes the mass of its path (`path_log_prob`) from the category that had it.
    """
    rows = torch.tensor([place.token for place in placements], device=log_prob.device)
    log_mass = prefixes.marginal(log_prob[rows], [place.written for place in placements])
    crossing = [(row, place) for row, place in enumerate(placements) if place.crossing is not None]
    if not crossing:
        return log_mass
    row = torch.tensor([row for row, _ in crossing], device=log_prob.device)
    source = torch.tensor([prefixes.owner(place.rest) for _, place in crossing], device=log_prob.device)
    target = torch.tensor([student_ids[row] for row, _ in crossing], device=log_prob.device)
    path = torch.stack([path_log_prob(prefixes, log_prob, teacher_ids, place) for _, place in crossing])
    held, before = log_mass[row, source], log_mass[row, target]
    moved = torch.minimum(path, held)
    log_mass[row, source] = held + torch.log(-torch.expm1(moved - held))
    log_mass[row, target] = torch.logaddexp(before, moved)
    return log_mass


def path_log_prob(prefixes: BytePrefixMap, log_prob: Tensor, teacher_ids: Sequence[int], place: Placement) -> Tensor:
    """log f[] of the teacher's probability of the path that a crossing token takes through the teacher's tokens.

    The first is conditioned on the bytes already written; for an incomplete last one, all tokens with that prefix
    count. Other paths may produce the same bytes, so this is a lower bound on their mass.
    """
    assert place.crossing is not None
    first, last = place.token, place.crossing.last
    total = log_prob[first, teacher_ids[first]]
    if place.written:
        continuing = prefixes.begun(place.written).teacher_ids.to(log_prob.device)
        total = total - log_prob[first, continuing].logsumexp(-1)
    for step in range(first + 1, last):
        total = total + log_prob[step, teacher_ids[step]]
    begun = place.crossing.begun
    return total + (prefixes.begins_with(log_prob[last], begun) if begun else log_prob[last, teacher_ids[last]])
