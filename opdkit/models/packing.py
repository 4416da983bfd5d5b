"""Verifies that a model computes the same hidden states for packed rows as for each row alone."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from opdkit.errors import UserError
from opdkit.functional.layout import Layout, share_lines
from opdkit.models.language_model import LanguageModel
from opdkit.models.scorer import predicting_states
from opdkit.models.template import first_line

# Rows of these lengths are packed into two sequences: one with three rows, the other with one row and padding.
_LENGTHS = (13, 4, 6, 3)
# Allowed relative difference of hidden states from rounding. Attending to a single key of another row gives far more.
_FLOAT32, _HALF = 1e-4, 6e-2


@torch.no_grad()
def prove_packing(model: LanguageModel, key: str, option: str = "batch.packing") -> LanguageModel:
    """The model with `packed` set, if its hidden states do not depend on what precedes a row in a sequence.

    transformers detects packed rows by position ids that restart, and builds the attention mask from them. Recurrent
    and convolutional layers, and models with their own mask or positions, leak from one row into the next.

    key: the config group, for the error. option: the option that requests packing. Raises UserError on a leak.
    """
    packed = replace(model, packed=True)
    why = ""
    try:
        error = _error(packed)
        if error > (_FLOAT32 if model.module.dtype == torch.float32 else _HALF):
            why = f"reads a row behind another otherwise than alone (states differ by {error:.3g} of the largest)"
    except Exception as raised:  # a module without position ids may raise anything
        why = f"can't read rows one behind another: {first_line(raised)}"
    if why:
        raise UserError(
            f"{option}=true: {key}.path={model.name!r}, the architecture {type(model.module).__name__}, {why}; "
            f"allowed: {option}=false"
        )
    return packed


def _error(model: LanguageModel) -> float:
    """The maximum difference between packed and separate hidden states, relative to the largest hidden state."""
    generator = torch.Generator().manual_seed(0)
    size = min(model.vocabulary, len(model.tokenizer))
    rows = torch.randint(0, size, (len(_LENGTHS), max(_LENGTHS)), generator=generator).to(model.device)
    steps = torch.arange(max(_LENGTHS), device=model.device)
    alone = Layout(rows, torch.arange(len(_LENGTHS), device=model.device), steps.expand_as(rows))
    together = share_lines(alone, _LENGTHS, model.pad_id, one_line=model.reads_one_line)
    errors: list[Tensor] = []
    largest = 0.0
    for row, length in enumerate(_LENGTHS):
        column = steps[:length]
        one = predicting_states(model, rows[row : row + 1, :length], torch.zeros_like(column), column)
        line, place = together.line[row].expand(length), together.predictor[row, :length]
        other = predicting_states(model, together.ids, line, place, together.positions)
        errors.append((one.float() - other.float()).abs().amax(dim=1))
        largest = max(largest, float(one.float().abs().max()))
    # In half precision, rounding may make an MoE router choose other experts: a few tokens may differ, but not most.
    found = [row.max() if model.module.dtype == torch.float32 else row.median() for row in errors]
    return float(torch.stack(found).max().nan_to_num(float("inf"))) / max(largest, 1e-12)
