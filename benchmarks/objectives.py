"""The measured objectives; each is one of `opdkit ls objective`."""

from __future__ import annotations

from opdkit.objectives import TokenDivergence


def topk(k: int) -> TokenDivergence:
    """topk: the teacher's top K ids, renormalised."""
    return TokenDivergence(k=k, tail="renormalise")


def bucket(k: int) -> TokenDivergence:
    """topk_bucket: the teacher's top K ids and a tail bucket."""
    return TokenDivergence(k=k, tail="bucket")


def student_bucket(k: int) -> TokenDivergence:
    """The student's top K ids and a tail bucket, as in TRL's IW-OPD trainer."""
    return TokenDivergence(support="student", k=k, tail="bucket")


def sampled(k: int) -> TokenDivergence:
    """thinking_machines: the sampled token only."""
    del k
    return TokenDivergence(support="sampled", estimator="score")


def full(k: int) -> TokenDivergence:
    """full_reverse_kl: the whole vocabulary."""
    del k
    return TokenDivergence(support="full")
