"""Computes `Scores` from full logits, as `opdkit.models` does from hidden states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.scores import Scores
from opdkit.functional.supports import intersect_supports, join_supports
from opdkit.models import Request


def score_logits(logits: Tensor, tokens: Tensor | None, request: Request) -> Scores:
    """The scores that `request` asks for.

    Args:
        logits: f[B, T, V], divided by the temperature; logits[b, t] predict tokens[b, t].
        tokens: i64[B, T], the sampled ids. Required if `request` asks for `sampled` or `include_sampled`.
        request: everything but the hidden states of `vocabulary`.
    """
    normaliser = logits.logsumexp(-1) if request.normaliser or request.sampled else None
    sampled = None
    if request.sampled:
        assert tokens is not None
        assert normaliser is not None
        sampled = _at(logits, tokens.unsqueeze(-1)).squeeze(-1) - normaliser
    support = _support(logits, tokens, request)
    return Scores(
        sampled_log_prob=sampled,
        support_ids=None if support is None else support.ids,
        support_logits=None if support is None else _at(logits, support.ids),
        support_mask=None if support is None else support.mask,
        logsumexp=normaliser if request.normaliser else None,
    )


def entropy(logits: Tensor) -> Tensor:
    """The entropy of each position, f[B, T] in nats, without gradient."""
    log_prob = logits.detach().log_softmax(-1)
    return -(log_prob.exp() * log_prob).sum(-1)


@dataclass(frozen=True)
class _Support:
    """ids i64[B, T, K]; mask bool[B, T, K], None for all."""

    ids: Tensor
    mask: Tensor | None


def _support(logits: Tensor, tokens: Tensor | None, request: Request) -> _Support | None:
    own = logits.detach().topk(request.top_k, -1).indices if request.top_k else None
    given, mask = request.support_ids, request.support_mask
    if own is not None and given is not None:
        if request.combine == "intersection":
            found = _Support(*intersect_supports(own, given, mask))
        else:
            found = _Support(*join_supports([own, given], [None, mask]))
    elif own is not None:
        found = _Support(own, None)
    elif given is not None:
        found = _Support(given, mask)
    else:
        return None
    if request.include_sampled:
        assert tokens is not None
        found = _Support(*join_supports([found.ids, tokens.unsqueeze(-1)], [found.mask, None]))
    return found


def _at(logits: Tensor, ids: Tensor) -> Tensor:
    """Logits of `ids`, f32 or wider."""
    return logits.gather(-1, ids).to(torch.promote_types(logits.dtype, torch.float32))
