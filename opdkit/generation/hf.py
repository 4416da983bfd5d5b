"""Generation with a transformers model in this process.

The decode loop is our own rather than `generate`: a sampler is one of opdkit's choices, every sampled
token keeps its log-prob without a [B, T, V] tensor, finished rows leave the batch, and the noise of a row
comes from that row's own seed, so what it says does not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from opdkit.data.problem import Problem
from opdkit.data.rollout import Prompts, Rollout, StopReason
from opdkit.errors import UserError
from opdkit.generation.prompts import pad_prompts
from opdkit.models import Decoder, LanguageModel
from opdkit.samplers import draw

Sampler = Callable[[Tensor], Tensor]

# Rows that have finished leave the batch when they are at least this share of it: copying the cache costs
# about as much as a decoding step.
_DROP_SHARE = 0.25


@dataclass(frozen=True)
class HFRollout:
    """max_new_tokens: the longest response, in tokens; max_prompt_tokens: a longer prompt is dropped and
    counted; batch_size: how many rows are decoded at once; cache_gib: fewer, where their keys and values would
    take more than so many GiB at full length; None: no limit. Neither changes what is written."""

    max_new_tokens: int = 128
    max_prompt_tokens: int = 256
    batch_size: int = 64
    cache_gib: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "max_prompt_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"rollout.{name}={getattr(self, name)} must be at least 1")
        if self.cache_gib is not None and not self.cache_gib > 0:
            raise UserError(f"rollout.cache_gib={self.cache_gib} must be above 0")

    def generate(
        self,
        model: LanguageModel,
        problems: Sequence[tuple[Problem, Sequence[int]]],
        sampler: Sampler,
        temperature: float,
        seeds: Sequence[int],
    ) -> Rollout:
        """Write one response to each prompt.

        problems: B pairs of a problem and its rendered prompt ids; sampler: f32[B, V] logits -> bool[B, V];
        temperature > 0 divides the logits; seeds: B of them, one a row.
        """
        order = sorted(range(len(problems)), key=lambda i: -len(problems[i][1]))
        parts: list[Rollout] = []
        start = 0
        while start < len(order):
            chosen = order[start : start + self.rows_at_once(model, len(problems[order[start]][1]))]
            start += len(chosen)
            prompts = pad_prompts(model, [problems[i][1] for i in chosen], [problems[i][0] for i in chosen])
            noise = _uniform([seeds[i] for i in chosen], self.max_new_tokens).to(model.device)
            parts.append(_decode(model, prompts, sampler, temperature, noise))
        return _restore(parts, order, model.pad_id)

    def rows_at_once(self, model: LanguageModel, prompt: int) -> int:
        """How many rows with prompts of up to `prompt` tokens are decoded together; at least one."""
        if self.cache_gib is None:
            return self.batch_size
        row = (prompt + self.max_new_tokens) * model.cache_bytes
        return max(1, min(self.batch_size, int(self.cache_gib * 2**30) // row))


@torch.no_grad()
def _decode(model: LanguageModel, prompts: Prompts, sampler: Sampler, temperature: float, noise: Tensor) -> Rollout:
    count, limit = noise.shape
    device = prompts.ids.device
    tokens = torch.full((count, limit), model.pad_id, dtype=torch.long, device=device)
    mask = torch.zeros((count, limit), dtype=torch.bool, device=device)
    log_prob = torch.zeros((count, limit), device=device)
    entropy = torch.zeros((count, limit), device=device)
    stops = torch.tensor(sorted(model.stop_ids), dtype=torch.long, device=device)
    stopped = torch.zeros(count, dtype=torch.bool, device=device)
    alive = torch.arange(count, device=device)
    decoder = Decoder(model, prompts)
    logits = decoder.start()
    for step in range(limit):
        scaled = logits / temperature
        chosen = draw(scaled, sampler(scaled), noise[alive, step])
        normalised = scaled.log_softmax(dim=-1)
        live = ~stopped[alive]
        rows = alive[live]
        tokens[rows, step] = chosen[live]
        mask[rows, step] = True
        log_prob[rows, step] = normalised.gather(1, chosen[:, None])[live, 0]
        entropy[rows, step] = torch.special.entr(normalised.exp()).sum(dim=-1)[live]
        stopped[rows] = torch.isin(chosen[live], stops)
        going = (~stopped[alive]).nonzero()[:, 0]
        if len(going) == 0 or step + 1 == limit:
            break
        if len(going) <= (1 - _DROP_SHARE) * len(alive):
            decoder.keep(going)
            alive, chosen = alive[going], chosen[going]
        logits = decoder.advance(chosen)
    reasons: tuple[StopReason, ...] = tuple("stop" if done else "length" for done in stopped.tolist())
    return Rollout(prompts, tokens, mask, log_prob, entropy, reasons)


def _uniform(seeds: Sequence[int], length: int) -> Tensor:
    """f32[B, T] in [0, 1), each row from its own seed."""
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def _restore(parts: Sequence[Rollout], order: Sequence[int], pad_id: int) -> Rollout:
    """Join the decoded batches and give the rows their first order back."""
    prompt_width = max(part.prompts.ids.shape[1] for part in parts)
    used = max(max(int(part.sampled_mask.sum(dim=1).max()), 1) for part in parts)
    back = torch.tensor(sorted(range(len(order)), key=lambda i: order[i]), device=parts[0].tokens.device)

    def left(values: Tensor, fill: int) -> Tensor:
        return torch.nn.functional.pad(values, (prompt_width - values.shape[1], 0), value=fill)

    ids = torch.cat([left(part.prompts.ids, pad_id) for part in parts])[back]
    prompt_mask = torch.cat([left(part.prompts.attention_mask, 0) for part in parts])[back]
    flat_problems = [problem for part in parts for problem in part.prompts.problems]
    flat_reasons = [reason for part in parts for reason in part.stop_reason]
    places = back.tolist()
    return Rollout(
        Prompts(ids, prompt_mask, tuple(flat_problems[i] for i in places)),
        torch.cat([part.tokens[:, :used] for part in parts])[back],
        torch.cat([part.sampled_mask[:, :used] for part in parts])[back],
        torch.cat([part.behaviour_log_prob[:, :used] for part in parts])[back],
        torch.cat([part.entropy[:, :used] for part in parts])[back],
        tuple(flat_reasons[i] for i in places),
    )
