"""Scores a rollout: one forward pass, and of lm_head only what is asked for."""

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
    """What is wanted of a model on a rollout.

    sampled: log-prob of the sampled tokens. top_k: the model's own best ids join the support.
    support_ids i64[B, T, K] with support_mask bool[B, T, K]: these ids are scored, too: joined with the model's own
    (`combine` union), or those of its own that are among them (`combine` intersection).
    include_sampled: the sampled token joins the support.
    normaliser: logsumexp of all logits, with gradient. vocabulary: the hidden states and the head themselves.
    survey_k: look at the whole vocabulary without gradient: logsumexp, entropy, and the best `stats_k` ids.
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
    """A model wrapped so that its forward pass returns Scores; what accelerate prepares."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.module = model.module
        self._model = model

    def forward(self, rollout: Rollout, loss_mask: Tensor, request: Request, temperature: float) -> Scores:
        """Scores of the counted tokens. counted bool[B, T]; temperature divides every logit.

        Only the hidden states that predict a counted token meet lm_head. Gradient flows, when it is enabled, through
        sampled_log_prob, support_logits, hidden, and a logsumexp that was asked for; a survey never has any.
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
        # The heads choose their own precisions; autocast would change them inside a custom function.
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
    """Hidden states f[N, D] at N places of ids i64[B, L], whose padding is on the right. row, column: i64[N].

    positions i64[B, L]: where several texts stand in a row of `ids`, of each token in its own.
    """
    told = {} if positions is None else {"position_ids": positions}
    return model.body()(input_ids=ids, use_cache=False, **told).last_hidden_state[row, column]


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
    """log p of the sampled ids, f32[N]. With a normaliser at hand one row of lm_head is all it takes; that of a
    survey has no gradient, and then the log-prob is for diagnostics alone."""
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
    """[N, ...] values of the counted tokens back to [B, T, ...], zeros elsewhere."""
    full = values.new_zeros((*shape, *values.shape[1:]))
    return full.index_put(place, values)
