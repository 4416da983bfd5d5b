"""Maps the tokens of a rollout to positions in the model's input sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout


@dataclass(frozen=True)
class Layout:
    """The B rows of a rollout, prompt then response, in N right-padded sequences.

    A causal model needs no attention mask here, since padding only follows real tokens.

    Attributes:
        ids: i64[N, L].
        line: i64[B], the index of the sequence that holds each row.
        predictor: i64[B, T], the position in that sequence whose hidden state predicts response token t.
        positions: i64[N, L], position ids that restart at each row of a packed sequence; None if rows are not packed.
    """

    ids: Tensor
    line: Tensor
    predictor: Tensor
    positions: Tensor | None = None


def align_left(rollout: Rollout, pad_id: int) -> Layout:
    """Shift each row's real tokens (prompt, then response) to the left.

    Shapes: rollout.prompts.ids i64[B, P], rollout.tokens i64[B, T] -> Layout with N = B, L = the longest row.
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
    return Layout(aligned, torch.arange(len(ids), device=ids.device), predictor.clamp(min=0, max=longest - 1))


def share_lines(rows: Layout, lengths: Sequence[int], pad_id: int, *, one_line: bool = False) -> Layout:
    """Pack rows end to end into as few sequences as they fit in.

    Args:
        rows: the result of `align_left`.
        lengths: the number of real tokens in each of the B rows.
        pad_id: the id of the padding.
        one_line: whether to pack all rows into one unpadded sequence, for variable-length attention, which costs no
            more than the rows separately. Otherwise sequences are about as long as the longest row, since dense
            attention is quadratic in the length.
    """
    device = rows.ids.device
    line, start, ends = _places(lengths, 1 if one_line else math.ceil(sum(lengths) / max(1, *lengths)))
    steps = torch.arange(rows.ids.shape[1], device=device)
    real = steps < torch.tensor(lengths, device=device)[:, None]
    first = torch.tensor(start, device=device)[:, None]
    place = (torch.tensor(line, device=device)[:, None].expand_as(real)[real], (first + steps)[real])
    width = max(1, *ends)
    ids = torch.full((len(ends), width), pad_id, dtype=rows.ids.dtype, device=device)
    # Position ids restart at 0 in the padding, so that it looks like one more row to code that splits rows there.
    positions = torch.arange(width, device=device) - torch.tensor(ends, device=device)[:, None]
    ids[place] = rows.ids[real]
    positions[place] = steps.expand_as(real)[real]
    return Layout(ids, torch.tensor(line, device=device), (rows.predictor + first).clamp(max=width - 1), positions)


def _places(lengths: Sequence[int], count: int) -> tuple[list[int], list[int], list[int]]:
    """The sequence of each row, the row's start within it, and the end of each sequence. Rows are placed greedily,
    longest first, each into the sequence with the fewest tokens."""
    ends = [0] * max(1, count)
    line, start = [0] * len(lengths), [0] * len(lengths)
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        line[row] = min(range(len(ends)), key=ends.__getitem__)
        start[row] = ends[line[row]]
        ends[line[row]] += lengths[row]
    return line, start, ends
