"""Slicing and joining of batch rows; only this module knows how the fields are padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.scores import Scores


def crop(values: Tensor | None, start: int, stop: int, width: int) -> Tensor | None:
    """Rows [start, stop) and the first `width` response positions of [B, T, ...] values; None stays None."""
    return None if values is None else values[start:stop, :width]


def pick(values: Tensor | None, rows: Sequence[int]) -> Tensor | None:
    """The given rows of [B, ...] values; None stays None."""
    return None if values is None else values[list(rows)]


def rollout_rows(rollout: Rollout, start: int, stop: int) -> Rollout:
    """Rows [start, stop) of a rollout, cropped to the columns that they use."""
    prompts = rollout.prompts
    prompt_mask = prompts.attention_mask[start:stop]
    skip = prompt_mask.shape[1] - int(prompt_mask.sum(dim=1).max())
    width = max(int(rollout.attention_mask[start:stop].sum(dim=1).max()), 1)
    return replace(
        rollout,
        prompts=Prompts(prompts.ids[start:stop, skip:], prompt_mask[:, skip:], prompts.problems[start:stop]),
        tokens=rollout.tokens[start:stop, :width],
        sampled_mask=rollout.sampled_mask[start:stop, :width],
        behaviour_log_prob=rollout.behaviour_log_prob[start:stop, :width],
        entropy=crop(rollout.entropy, start, stop, width),
        stop_reason=rollout.stop_reason[start:stop],
        environment_mask=crop(rollout.environment_mask, start, stop, width),
        engine_log_prob=crop(rollout.engine_log_prob, start, stop, width),
    )


def rollout_at(rollout: Rollout, rows: Sequence[int]) -> Rollout:
    """The given rows of a rollout, at the same width."""
    at = list(rows)
    prompts = rollout.prompts
    problems = tuple(prompts.problems[row] for row in at)
    return replace(
        rollout,
        prompts=Prompts(prompts.ids[at], prompts.attention_mask[at], problems),
        tokens=rollout.tokens[at],
        sampled_mask=rollout.sampled_mask[at],
        behaviour_log_prob=rollout.behaviour_log_prob[at],
        entropy=pick(rollout.entropy, at),
        stop_reason=tuple(rollout.stop_reason[row] for row in at),
        environment_mask=pick(rollout.environment_mask, at),
        engine_log_prob=pick(rollout.engine_log_prob, at),
    )


def scores_rows(scores: Scores, start: int, stop: int, width: int) -> Scores:
    """Rows [start, stop) and the first `width` response positions of scores of [B, T, ...]."""
    return replace(scores, **{name: crop(getattr(scores, name), start, stop, width) for name in Scores.tensors()})


def join_scores(parts: Sequence[Scores], width: int) -> Scores:
    """Join the scores of consecutive rows, each [b, t, ...], into [B, width, ...], zero-padded."""

    def joined(name: str) -> Tensor | None:
        values = [getattr(part, name) for part in parts]
        if any(value is None for value in values):
            return None
        last = max(value.shape[-1] for value in values)
        return torch.cat([_padded(value, width, last) for value in values])

    fields = {name: joined(name) for name in Scores.tensors()}
    first = parts[0]
    return Scores(**fields, paired_ids=first.paired_ids, head=first.head, temperature=first.temperature)


def _padded(values: Tensor, width: int, last: int) -> Tensor:
    """Zero-pad to `width` response positions and, for support tensors, to `last` ids."""
    if values.dim() == 3:
        values = torch.nn.functional.pad(values, (0, last - values.shape[-1]))
        return torch.nn.functional.pad(values, (0, 0, 0, width - values.shape[1]))
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))
