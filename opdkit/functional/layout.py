"""Locates the tokens of a rollout in the sequence that a model reads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout


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
