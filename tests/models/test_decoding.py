"""Decoding with a growing cache against one forward pass over everything."""

from __future__ import annotations

import pytest
import torch

from opdkit.generation.prompts import pad_prompts
from opdkit.models import Decoder
from opdkit.models import cache as cache_module
from tests.tiny import rendered, tiny_model, tiny_problems


@pytest.mark.parametrize("least", [1, 3, 64])
def test_logits_are_those_of_a_whole_pass_also_when_rows_leave(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_LEAST", least)
    monkeypatch.setattr(cache_module, "_SHARE", 0.0)
    model = tiny_model(0)
    pairs = rendered(model, tiny_problems(4))
    sequences = [list(ids) for _, ids in pairs]
    decoder = Decoder(model, pad_prompts(model, [ids for _, ids in pairs], [p for p, _ in pairs]))
    alive = list(range(4))
    torch.manual_seed(0)
    with torch.no_grad():
        logits = decoder.start()
        for step in range(10):
            for place, row in enumerate(alive):
                whole = model.module(input_ids=torch.tensor([sequences[row]])).logits[0, -1, :260]
                assert torch.allclose(logits[place], whole, atol=1e-4)
            if step in (3, 6):
                index = torch.tensor([i for i in range(len(alive)) if i != 1])
                decoder.keep(index)
                alive = [alive[i] for i in index.tolist()]
            tokens = torch.randint(0, 256, (len(alive),))
            for row, token in zip(alive, tokens.tolist(), strict=True):
                sequences[row].append(token)
            logits = decoder.advance(tokens)
