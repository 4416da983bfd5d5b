"""Episodes of several turns: how each answer is written, and how answers become rows to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Rollout, StopReason
from opdkit.errors import UserError
from opdkit.generation.chat import Chat, Turn
from opdkit.generation.hf import HFRollout
from opdkit.generation.prompts import pad_prompts
from opdkit.models import LanguageModel

Form = Literal["turns", "episode"]
Reward = Literal["success", "score"]


@dataclass(frozen=True)
class EpisodeRollout(HFRollout):
    """max_new_tokens: the longest answer of a turn; max_prompt_tokens: the longest chat that a turn begins with,
    above it the oldest turns are left out, and counted; batch_size: how many answers are written at once.

    form: what a row of training is. turns: each answer is a response of its own, its prompt the chat so far (the
    paper's form). episode: the answers of an episode are one response, with what the environment said between them
    as tokens that are read and never counted; where turns were left out, a new row begins.
    reward: of each row, the episode's success (0 or 1) or its score (0 to 1). side_by_side: episodes played at once,
    each game in a process of its own; it changes no episode.
    """

    form: Form = "turns"
    reward: Reward = "success"
    side_by_side: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, choices in (("form", get_args(Form)), ("reward", get_args(Reward))):
            if getattr(self, name) not in choices:
                raise UserError(f"rollout.{name}={getattr(self, name)!r} must be one of {', '.join(choices)}")
        if self.side_by_side < 1:
            raise UserError(f"rollout.side_by_side={self.side_by_side} must be at least 1")

    def open(self, model: LanguageModel, opening: Sequence[Message]) -> Chat:
        """A new chat under this rollout's limits."""
        return Chat(model, opening, self.max_prompt_tokens)

    def answer(
        self,
        model: LanguageModel,
        prompts: Sequence[tuple[int, ...]],
        sampler: Callable[[Tensor], Tensor],
        temperature: float,
        seeds: Sequence[int],
    ) -> list[Turn]:
        """One answer to each of B prompts, written side by side; what one says depends on its own seed alone."""
        nobody = Problem("", (), "")
        rollout = self.generate(model, [(nobody, ids) for ids in prompts], sampler, temperature, seeds)
        log_prob, entropy = rollout.behaviour_log_prob.cpu(), rollout.entropy.cpu()
        lengths, tokens = rollout.sampled_mask.sum(dim=1).tolist(), rollout.tokens.tolist()
        return [
            Turn(prompts[i], tuple(tokens[i][:n]), log_prob[i, :n], entropy[i, :n], rollout.stop_reason[i])
            for i, n in enumerate(lengths)
        ]

    def rows(self, turns: Sequence[Turn]) -> list[tuple[Turn, ...]]:
        """The turns of one episode, cut into those that share a row."""
        if self.form == "turns":
            return [(turn,) for turn in turns]
        cut: list[list[Turn]] = []
        for turn in turns:
            if cut and _goes_on(cut[-1][-1], turn):
                cut[-1].append(turn)
            else:
                cut.append([turn])
        return [tuple(row) for row in cut]


def pack(model: LanguageModel, rows: Sequence[Sequence[Turn]], problems: Sequence[Problem]) -> Rollout:
    """B rows of turns, each row's turns following one another, as a Rollout; `problems` has one for each row."""
    spread = [_spread(row) for row in rows]
    width = max(len(tokens) for tokens, _ in spread)
    shape = (len(rows), width)
    tokens = torch.full(shape, model.pad_id, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.bool)
    real = torch.zeros(shape, dtype=torch.bool)
    log_prob, entropy = torch.zeros(shape), torch.zeros(shape)
    for index, (row, (ids, sampled)) in enumerate(zip(rows, spread, strict=True)):
        tokens[index, : len(ids)] = torch.tensor(ids, dtype=torch.long)
        mask[index, : len(ids)] = torch.tensor(sampled, dtype=torch.bool)
        real[index, : len(ids)] = True
        log_prob[index, mask[index]] = torch.cat([turn.log_prob for turn in row])
        entropy[index, mask[index]] = torch.cat([turn.entropy for turn in row])
    given = real & ~mask
    device = model.device
    return Rollout(
        pad_prompts(model, [row[0].prompt for row in rows], problems),
        tokens.to(device),
        mask.to(device),
        log_prob.to(device),
        entropy.to(device),
        tuple(_stop_reason(row) for row in rows),
        given.to(device) if bool(given.any()) else None,
    )


def _spread(row: Sequence[Turn]) -> tuple[list[int], list[bool]]:
    """The ids of a row's response, and which of them were sampled."""
    ids: list[int] = []
    sampled: list[bool] = []
    for turn in row:
        between = turn.prompt[len(row[0].prompt) + len(ids) :]
        ids += [*between, *turn.tokens]
        sampled += [False] * len(between) + [True] * len(turn.tokens)
    return ids, sampled


def _goes_on(before: Turn, turn: Turn) -> bool:
    """Whether a turn's prompt begins with the whole of the turn before."""
    whole = before.prompt + before.tokens
    return turn.prompt[: len(whole)] == whole


def _stop_reason(row: Sequence[Turn]) -> StopReason:
    """A row counts as cut where one of its answers was."""
    return "length" if any(turn.stop_reason == "length" for turn in row) else "stop"
