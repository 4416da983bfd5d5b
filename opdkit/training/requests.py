"""Derives the scoring request of each model from an objective's needs."""

from __future__ import annotations

from opdkit.data.loss import Needs
from opdkit.data.scores import Scores
from opdkit.models import Request

_FROM_STUDENT = ("student", "union", "intersection")
_FROM_TEACHER = ("teacher", "union", "intersection")


def before_request(needs: Needs, old: bool) -> Request | None:
    """The student's request before the first update, without gradient: its top ids, and with `old` its log-probs."""
    top_k = needs.k if needs.support in _FROM_STUDENT else 0
    return Request(sampled=old, top_k=top_k) if top_k or old else None


def teacher_request(needs: Needs, before: Scores | None, stats_k: int) -> Request:
    """The teacher's request: the support combines its own top ids with the student's before the first update.

    stats_k: the number of top ids in its vocabulary statistics of this step, 0 for none.
    """
    assert needs.teacher is not None
    given = before if needs.support in _FROM_STUDENT else None
    top_k = needs.k if needs.support in _FROM_TEACHER else 0
    if needs.support is None and stats_k:
        top_k = stats_k
    return Request(
        sampled=needs.teacher.sampled,
        top_k=top_k,
        support_ids=None if given is None else given.support_ids,
        support_mask=None if given is None else given.support_mask,
        combine="intersection" if needs.support == "intersection" else "union",
        include_sampled=needs.include_sampled,
        normaliser=needs.teacher.logsumexp,
        vocabulary=needs.teacher.vocabulary or needs.teacher.own_vocabulary,
        stats_k=stats_k,
    )


def student_request(needs: Needs, teacher: Scores, stats_k: int) -> Request:
    """The student's request in an update, with gradient: the ids scored by the teacher."""
    return Request(
        sampled=needs.student.sampled,
        support_ids=teacher.support_ids,
        support_mask=teacher.support_mask,
        normaliser=needs.student.logsumexp,
        vocabulary=needs.student.vocabulary,
        stats_k=stats_k,
    )
