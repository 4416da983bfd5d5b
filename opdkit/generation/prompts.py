"""Problems to padded prompts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from opdkit.data.problem import Problem
from opdkit.data.rollout import Prompts
from opdkit.models import LanguageModel


def pad_prompts(model: LanguageModel, rendered: Sequence[Sequence[int]], problems: Sequence[Problem]) -> Prompts:
    """Pad token ids on the left to Prompts of [B, P] on the model's device. `rendered` has B rows."""
    longest = max((len(row) for row in rendered), default=1)
    ids = torch.full((len(rendered), longest), model.pad_id, dtype=torch.long)
    mask = torch.zeros((len(rendered), longest), dtype=torch.bool)
    for index, row in enumerate(rendered):
        if row:
            ids[index, longest - len(row) :] = torch.tensor(row, dtype=torch.long)
            mask[index, longest - len(row) :] = True
    return Prompts(ids.to(model.device), mask.to(model.device), tuple(problems))
