"""Where the tokens of a rollout lie in the sequence that a model reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.rollout import Prompts, Rollout


@dataclass(frozen=True)
class Layout:
    """Prompt and response side by side, padded on the right alone.

    ids i64[B, L]; predictor i64[B, T], the position in L whose hidden state predicts response token t.
    A causal model needs no attention mask here: padding comes after everything that counts.
    """

    ids: Tensor
    predictor: Tensor


def align_left(rollout: Rollout, pad_id: int) -> Layout:
    """Move each row's real tokens (prompt, then response) to the left.

    Shapes: rollout.prompts.ids i64[B, P], rollout.tokens i64[B, T] -> Layout with L = the longest row.
    """
    prompts = rollout.prompts
    ids = torch.cat([prompts.ids, rollout.tokens], dim=1)
    real = torch.cat([prompts.attention_mask, rollout.attention_mask], dim=1)
    order = torch.argsort((~real).to(torch.uint8), dim=1, stable=True)
    longest = max(int(real.sum(dim=1).max()), 1)
    kept = torch.gather(real, 1, order)[:, :longest]
    aligned = torch.gather(ids, 1, order)[:, :longest].masked_fill(~kept, pad_id)
    steps = torch.arange(rollout.tokens.shape[1], device=ids.device)
    predictor = prompts.attention_mask.sum(dim=1, keepdim=True) - 1 + steps
    return Layout(aligned, predictor.clamp(min=0, max=longest - 1))


def rows(rollout: Rollout, start: int, stop: int) -> Rollout:
    """Rows [start, stop) of a rollout, cropped to the columns that they use."""
    prompts = rollout.prompts
    prompt_mask = prompts.attention_mask[start:stop]
    skip = prompt_mask.shape[1] - int(prompt_mask.sum(dim=1).max())
    width = max(int(rollout.attention_mask[start:stop].sum(dim=1).max()), 1)
    return Rollout(
        Prompts(prompts.ids[start:stop, skip:], prompt_mask[:, skip:], prompts.problems[start:stop]),
        rollout.tokens[start:stop, :width],
        rollout.sampled_mask[start:stop, :width],
        rollout.behaviour_log_prob[start:stop, :width],
        rollout.entropy[start:stop, :width],
        rollout.stop_reason[start:stop],
        None if rollout.environment_mask is None else rollout.environment_mask[start:stop, :width],
    )
