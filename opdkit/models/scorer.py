"""What a model says of a rollout: one forward pass, and of lm_head only what is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from opdkit.functional.layout import align_left
from opdkit.functional.supports import join_supports
from opdkit.heads import Head, Survey, sampled_log_prob, support_logits, survey
from opdkit.models.language_model import LanguageModel
from opdkit.types import Rollout, Scores


@dataclass(frozen=True)
class Request:
    """What is wanted of a model on a rollout.

    sampled: log-prob of the sampled tokens. top_k: the model's own best ids join the support.
    support_ids i64[B, T, K] with support_mask bool[B, T, K]: these ids are scored (and join, too).
    include_sampled: the sampled token joins the support.
    survey_k: look at the whole vocabulary without gradient: logsumexp, entropy, and the best `survey_k` ids.
    """

    sampled: bool = False
    top_k: int = 0
    support_ids: Tensor | None = None
    support_mask: Tensor | None = None
    include_sampled: bool = False
    survey_k: int = 0

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

    def forward(self, rollout: Rollout, counted: Tensor, request: Request, temperature: float) -> Scores:
        """Scores of the counted tokens. counted bool[B, T]; temperature divides every logit.

        Only the hidden states that predict a counted token meet lm_head. Gradient flows through
        sampled_log_prob and support_logits when it is enabled; a survey never has any.
        """
        layout = align_left(rollout, self._model.pad_id)
        hidden = self._model.body()(input_ids=layout.ids, use_cache=False).last_hidden_state
        row, step = counted.nonzero(as_tuple=True)
        picked = hidden[row, layout.predictor[row, step]]
        # The heads choose their own precisions; autocast would change them inside a custom function.
        with torch.autocast(picked.device.type, enabled=False):
            return _score(picked, self._model.head(), rollout.tokens, (row, step), request, temperature)


def _score(
    hidden: Tensor,
    head: Head,
    tokens: Tensor,
    place: tuple[Tensor, Tensor],
    request: Request,
    temperature: float,
) -> Scores:
    row, step = place
    sampled = tokens[row, step]
    width = max(request.top_k, request.survey_k)
    looked = None
    if width or request.survey_k:
        looked = survey(
            hidden.detach(), head, min(width, head.vocabulary), temperature,
            entropy=request.survey_k > 0, normaliser=request.survey_k > 0,
        )  # fmt: skip
    fields: dict[str, Any] = {}
    if request.sampled:
        fields["sampled_log_prob"] = sampled_log_prob(hidden, head, sampled, temperature)
    if looked is not None and looked.logsumexp is not None:
        fields |= {"logsumexp": looked.logsumexp, "entropy": looked.entropy}
        fields["top_ids"] = None if looked.ids is None else looked.ids[:, : request.survey_k]
        if not request.sampled:
            with torch.no_grad():
                fields["sampled_log_prob"] = (
                    support_logits(hidden, head, sampled[:, None], temperature)[:, 0] - looked.logsumexp
                )
    fields |= _support(hidden, head, sampled, place, request, looked, temperature)
    return Scores(**{name: _spread(value, tokens.shape, place) for name, value in fields.items()})


def _support(
    hidden: Tensor,
    head: Head,
    sampled: Tensor,
    place: tuple[Tensor, Tensor],
    request: Request,
    looked: Survey | None,
    t: float,
) -> dict[str, Tensor | None]:
    parts: list[Tensor] = []
    masks: list[Tensor | None] = []
    if request.top_k and looked is not None and looked.ids is not None:
        parts.append(looked.ids[:, : request.top_k])
        masks.append(None)
    if request.support_ids is not None:
        parts.append(request.support_ids[place])
        masks.append(None if request.support_mask is None else request.support_mask[place])
    if request.include_sampled and parts:
        parts.append(sampled[:, None])
        masks.append(None)
    if not parts:
        return {}
    if len(parts) == 1:
        ids, mask = parts[0], masks[0]
    else:
        ids, mask = join_supports(parts, masks)
    if request.top_k and len(parts) == 1 and not hidden.requires_grad and looked is not None:
        assert looked.logits is not None
        logits = looked.logits[:, : request.top_k]
    else:
        logits = support_logits(hidden, head, ids, t)
    return {"support_ids": ids, "support_logits": logits, "support_mask": mask}


def _spread(values: Tensor | None, shape: torch.Size, place: tuple[Tensor, Tensor]) -> Tensor | None:
    """[N, ...] values of the counted tokens back to [B, T, ...], zeros elsewhere."""
    if values is None:
        return None
    full = values.new_zeros((*shape, *values.shape[1:]))
    return full.index_put(place, values)
