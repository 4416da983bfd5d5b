"""The objectives that are measured; each is one of `opdkit ls objective`."""

from __future__ import annotations

from opdkit.objectives import TokenDivergence


def topk(k: int) -> TokenDivergence:
    """topk: the teacher's best K ids, renormalised."""
    return TokenDivergence(k=k, tail="renormalise")


def bucket(k: int) -> TokenDivergence:
    """topk_bucket: the teacher's best K ids, and one category for the rest."""
    return TokenDivergence(k=k, tail="bucket")


def student_bucket(k: int) -> TokenDivergence:
    """The student's best K ids, and one category for the rest: what TRL's IW-OPD trainer has."""
    return TokenDivergence(support="student", k=k, tail="bucket")


def sampled(k: int) -> TokenDivergence:
    """thinking_machines: the sampled token alone."""
    del k
    return TokenDivergence(support="sampled", estimator="score")


def full(k: int) -> TokenDivergence:
    """full_reverse_kl: every id."""
    del k
    return TokenDivergence(support="full")
