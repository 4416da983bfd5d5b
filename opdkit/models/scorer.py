"""Scores a rollout with one forward pass and only the requested part of lm_head."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.functional.layout import Layout, align_left, share_lines
from opdkit.functional.supports import intersect_supports, join_supports
from opdkit.heads import Head, VocabularyStats, logsumexp, sampled_log_prob, support_logits, vocabulary_stats
from opdkit.models.language_model import LanguageModel
from opdkit.stopwatch import METRICS


@dataclass(frozen=True)
class Request:
    """The scores requested from a model on a rollout.

    Attributes:
        sampled: log-prob of the sampled tokens.
        top_k: number of the model's own top ids in the support.
        support_ids: i64[B, T, K], further ids to score.
        support_mask: bool[B, T, K], False on filler ids.
        combine: whether the support is the union of support_ids and the model's top ids, or their intersection.
        include_sampled: whether the sampled token is added to the support.
        normaliser: logsumexp of all logits, with gradient.
        vocabulary: the hidden states and the head.
        stats_k: number of top ids in a pass over the whole vocabulary without gradient, which also gives logsumexp
            and entropy; 0 for none.
    """

    sampled: bool = False
    top_k: int = 0
    support_ids: Tensor | None = None
    support_mask: Tensor | None = None
    combine: Literal["union", "intersection"] = "union"
    include_sampled: bool = False
    normaliser: bool = False
    vocabulary: bool = False
    stats_k: int = 0

    def rows(self, start: int, stop: int, width: int) -> Request:
        """The request for rows [start, stop) and the first `width` response positions."""
        if self.support_ids is None:
            return self
        mask = None if self.support_mask is None else self.support_mask[start:stop, :width]
        return replace(self, support_ids=self.support_ids[start:stop, :width], support_mask=mask)


class Scorer(nn.Module):
    """A module around a model whose forward pass returns Scores, to be prepared by accelerate."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.module = model.module
        self._model = model

    def forward(self, rollout: Rollout, loss_mask: Tensor, request: Request, temperature: float) -> Scores:
        """Scores of the tokens in loss_mask bool[B, T]; temperature divides every logit.

        lm_head is applied only to the hidden states that predict an unmasked token. Gradient flows, if enabled, through
        sampled_log_prob, support_logits, hidden, and a requested logsumexp, but never through vocabulary statistics.
        """
        shards = self._model.shards
        if shards is not None:
            return shards.scored(lambda: self._scores(rollout, loss_mask, request, temperature))
        return self._scores(rollout, loss_mask, request, temperature)

    def _scores(self, rollout: Rollout, loss_mask: Tensor, request: Request, temperature: float) -> Scores:
        layout = _layout(self._model, rollout)
        row, step = loss_mask.nonzero(as_tuple=True)
        place = (layout.line[row], layout.predictor[row, step])
        picked = predicting_states(self._model, layout.ids, *place, layout.positions)
        # The heads choose their own dtypes, which autocast would change inside an autograd function.
        with torch.autocast(picked.device.type, enabled=False):
            return score_hidden(picked, self._model.head(), rollout.tokens, (row, step), request, temperature)


def _layout(model: LanguageModel, rollout: Rollout) -> Layout:
    rows = align_left(rollout, model.pad_id)
    if not model.packed:
        return rows
    lengths = rollout.prompts.attention_mask.sum(dim=1) + rollout.attention_mask.sum(dim=1)
    return share_lines(rows, lengths.tolist(), model.pad_id, one_line=model.reads_one_line)


def predicting_states(
    model: LanguageModel, ids: Tensor, row: Tensor, column: Tensor, positions: Tensor | None = None
) -> Tensor:
    """Hidden states f[N, D] at N positions (row, column: i64[N]) of right-padded ids i64[B, L].

    positions i64[B, L]: position ids within each of the packed sequences, if `ids` is packed.
    """
    extra = {} if positions is None else {"position_ids": positions}
    return model.body()(input_ids=ids, use_cache=False, **extra).last_hidden_state[row, column]


def score_hidden(
    hidden: Tensor,
    head: Head,
    tokens: Tensor,
    place: tuple[Tensor, Tensor],
    request: Request,
    temperature: float,
) -> Scores:
    """Scores of N tokens from the hidden states that predict them.

    hidden f[N, D]; tokens i64[B, T]; place: rows and positions i64[N] of the N tokens in it. Fields are [B, T, ...].
    """
    sampled = tokens[place]
    looked = _look(hidden.detach(), head, request, temperature)
    graded = request.normaliser and torch.is_grad_enabled()
    fields: dict[str, Tensor | None] = {}
    if looked is not None:
        fields |= {"logsumexp": looked.logsumexp, "entropy": looked.entropy}
        fields["top_ids"] = None if looked.ids is None else looked.ids[:, : request.stats_k]
    if graded:
        fields["logsumexp"] = logsumexp(hidden, head, temperature)
    fields["sampled_log_prob"] = _sampled(hidden, head, sampled, request, fields.get("logsumexp"), temperature)
    fields |= _support(hidden, head, sampled, place, request, looked, temperature)
    if request.vocabulary:
        fields["hidden"] = hidden
    full = {name: None if value is None else spread(value, tokens.shape, place) for name, value in fields.items()}
    return Scores(**full, head=head if request.vocabulary else None, temperature=temperature)


def _look(hidden: Tensor, head: Head, request: Request, temperature: float) -> VocabularyStats | None:
    width, observed = max(request.top_k, request.stats_k), request.stats_k > 0
    normaliser = observed or (request.normaliser and not torch.is_grad_enabled())
    if not width and not normaliser:
        return None
    with METRICS if observed else nullcontext():
        return vocabulary_stats(
            hidden, head, min(width, head.vocabulary), temperature, entropy=observed, normaliser=normaliser
        )


def _sampled(
    hidden: Tensor, head: Head, sampled: Tensor, request: Request, normaliser: Tensor | None, temperature: float
) -> Tensor | None:
    """log p of the sampled ids, f32[N]. With a known normaliser only one row of lm_head is needed; a normaliser from
    vocabulary statistics has no gradient, and then the log-prob is only for diagnostics."""
    if request.sampled and not request.normaliser:
        return sampled_log_prob(hidden, head, sampled, temperature)
    if normaliser is None:
        return None
    with torch.set_grad_enabled(torch.is_grad_enabled() and request.sampled):
        return support_logits(hidden, head, sampled[:, None], temperature)[:, 0] - normaliser


def _support(
    hidden: Tensor,
    head: Head,
    sampled: Tensor,
    place: tuple[Tensor, Tensor],
    request: Request,
    looked: VocabularyStats | None,
    temperature: float,
) -> dict[str, Tensor | None]:
    own = looked.ids[:, : request.top_k] if request.top_k and looked is not None and looked.ids is not None else None
    given = None if request.support_ids is None else request.support_ids[place]
    mask = None if request.support_mask is None else request.support_mask[place]
    if own is not None and given is not None:
        combine = intersect_supports(own, given, mask) if request.combine == "intersection" else None
        ids, mask = combine or join_supports([own, given], [None, mask])
    elif own is not None:
        ids = own
    elif given is not None:
        ids = given
    else:
        return {}
    if request.include_sampled:
        ids, mask = join_supports([ids, sampled[:, None]], [mask, None])
    if ids is own and looked is not None and looked.logits is not None and not hidden.requires_grad:
        logits = looked.logits[:, : request.top_k]
    else:
        logits = support_logits(hidden, head, ids, temperature)
    return {"support_ids": ids, "support_logits": logits, "support_mask": mask}


def spread(values: Tensor, shape: torch.Size, place: tuple[Tensor, Tensor]) -> Tensor:
    """Scatter values [N, ...] of the unmasked tokens to [B, T, ...], with zeros elsewhere."""
    full = values.new_zeros((*shape, *values.shape[1:]))
    return full.index_put(place, values)
