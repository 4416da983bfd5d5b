"""Splits a teacher's probability of ending among the student's stop ids, in the student's own proportions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.models import Request
from opdkit.teachers.base import OpenTeacher, TeacherContext
from opdkit.teachers.live import SelfTeacher
from opdkit.teachers.stops import Stops


@dataclass(frozen=True)
class EndShares:
    """q(a) = q(end) p(a) / p(end) for each stop id a of the student, with p detached.

    Then the gradient of a divergence between p and q at fixed prefixes equals that of the divergence between their
    probabilities of ending: log p(a) - log q(a) = log p(end) - log q(end) for each a.

    Attributes:
        stops: the stop ids of both models.
        student: a teacher that scores with the student's current weights.
    """

    stops: Stops
    student: OpenTeacher

    @classmethod
    def of(cls, stops: Stops, context: TeacherContext) -> EndShares | None:
        """None if there is nothing to split: the student has at most one stop id, or the teacher none."""
        if len(stops.ours) < 2 or not stops.theirs:
            return None
        return cls(stops, SelfTeacher("live").open(context))

    def applied(self, found: Scores, rollout: Rollout, loss_mask: Tensor) -> Scores:
        """The scores with the log-prob or logit of ending reduced to the stand-in id's share; others unchanged."""
        if found.sampled_log_prob is None and found.support_logits is None:
            return found
        ids = torch.tensor(self.stops.ours, device=rollout.tokens.device).expand(*rollout.tokens.shape, -1)
        own = self.student.score(rollout, loss_mask, Request(support_ids=ids)).support_logits
        assert own is not None
        ends = self.stops.stand_in(rollout.tokens)
        known = loss_mask if found.scored is None else found.scored
        share = torch.where(known, self.stops.share(own, ends), 0.0)
        sampled, support = found.sampled_log_prob, found.support_logits
        if sampled is not None:
            sampled = sampled + torch.where(rollout.tokens == ends, share, 0.0)
        if support is not None:
            assert found.support_ids is not None
            support = support + torch.where(found.support_ids == ends[..., None], share[..., None], 0.0)
        return replace(found, sampled_log_prob=sampled, support_logits=support)
