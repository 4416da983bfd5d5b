"""Packs completions into a padded `Rollout`. A single answer is an episode of one turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.problem import Problem
from opdkit.data.rollout import Author, Prompts, Rollout, StopReason
from opdkit.generation.base import Completion
from opdkit.models import LanguageModel


@dataclass(frozen=True)
class Turn:
    """One completion and its full prompt, as token ids."""

    prompt_ids: tuple[int, ...]
    completion: Completion


def pad_prompts(model: LanguageModel, rendered: Sequence[Sequence[int]], problems: Sequence[Problem] = ()) -> Prompts:
    """Left-pad B rows of token ids to Prompts [B, P] on the model's device."""
    longest = max((len(row) for row in rendered), default=1)
    ids = torch.full((len(rendered), longest), model.pad_id, dtype=torch.long)
    mask = torch.zeros((len(rendered), longest), dtype=torch.bool)
    for index, row in enumerate(rendered):
        if row:
            ids[index, longest - len(row) :] = torch.tensor(row, dtype=torch.long)
            mask[index, longest - len(row) :] = True
    return Prompts(ids.to(model.device), mask.to(model.device), tuple(problems))


def pack(
    model: LanguageModel, rows: Sequence[Sequence[Turn]], problems: Sequence[Problem], author: Author = "student"
) -> Rollout:
    """Pack B rows of turns into a Rollout.

    Args:
        model: the model whose padding id and device are used.
        rows: the B rows. Within a row, each turn's prompt starts with the previous turn's prompt and answer; tokens
            between two turns come from an environment.
        problems: one for each row.
        author: the source of the sampled tokens.
    """
    spread = [_spread(row) for row in rows]
    width = max(1, *(len(tokens) for tokens, _ in spread))
    shape = (len(rows), width)
    tokens = torch.full(shape, model.pad_id, dtype=torch.long)
    sampled = torch.zeros(shape, dtype=torch.bool)
    attended = torch.zeros(shape, dtype=torch.bool)
    completions = [turn.completion for row in rows for turn in row]
    scored = all(one.log_prob is not None for one in completions)
    log_prob = torch.zeros(shape)
    entropy = torch.zeros(shape) if all(one.entropy is not None for one in completions) else None
    has_engine = all(one.engine_log_prob is not None for one in completions)
    engine = torch.zeros(shape) if has_engine else None
    for index, (row, (ids, flags)) in enumerate(zip(rows, spread, strict=True)):
        tokens[index, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        sampled[index, : len(ids)] = torch.tensor(flags, dtype=torch.bool)
        attended[index, : len(ids)] = True
        if scored:
            log_prob[index, sampled[index]] = _joined([turn.completion.log_prob for turn in row])
        if entropy is not None:
            entropy[index, sampled[index]] = _joined([turn.completion.entropy for turn in row])
        if engine is not None:
            engine[index, sampled[index]] = _joined([turn.completion.engine_log_prob for turn in row])
    environment = attended & ~sampled
    device = model.device
    return Rollout(
        pad_prompts(model, [row[0].prompt_ids for row in rows], problems),
        tokens.to(device),
        sampled.to(device),
        log_prob.to(device),
        None if entropy is None else entropy.to(device),
        tuple(_stop_reason(row) for row in rows),
        environment.to(device) if bool(environment.any()) else None,
        author,
        scored=scored,
        engine_log_prob=None if engine is None else engine.to(device),
    )


def _joined(values: Sequence[Tensor | None]) -> Tensor:
    """The concatenated values of the turns."""
    return torch.cat([value for value in values if value is not None])


def _spread(row: Sequence[Turn]) -> tuple[list[int], list[bool]]:
    """The ids of a row's response, and which of them were sampled."""
    ids: list[int] = []
    sampled: list[bool] = []
    for turn in row:
        between = turn.prompt_ids[len(row[0].prompt_ids) + len(ids) :]
        ids += [*between, *turn.completion.ids]
        sampled += [False] * len(between) + [True] * len(turn.completion.ids)
    return ids, sampled


def _stop_reason(row: Sequence[Turn]) -> StopReason:
    """`length` if any answer of the row was cut, else `stop`."""
    return "length" if any(turn.completion.stop_reason == "length" for turn in row) else "stop"
