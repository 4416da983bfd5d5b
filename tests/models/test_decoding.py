"""Decoding with a growing cache against one forward pass over everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from opdkit.errors import UserError
from opdkit.generation import pad_prompts
from opdkit.models import Decoder
from opdkit.models import cache as cache_module
from opdkit.models.checks import prove_decoding
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


def test_rows_that_cannot_leave_stay_unseen() -> None:
    model = replace(tiny_model(0), drops_rows=False)
    pairs = rendered(model, tiny_problems(4))
    prompts = pad_prompts(model, [ids for _, ids in pairs], [p for p, _ in pairs])
    tokens = torch.randint(0, 256, (4, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        dropping, staying = Decoder(tiny_model(0), prompts), Decoder(model, prompts)
        alive = torch.arange(4)
        assert torch.equal(dropping.start(), staying.start())
        for step, left in enumerate(([0, 2, 3], [0, 1, 2], [2, 0], [1])):
            index = torch.tensor(left)
            dropping.keep(index)
            staying.keep(index)
            alive = alive[index]
            chosen = tokens[alive, step]
            assert torch.allclose(dropping.advance(chosen), staying.advance(chosen), atol=1e-5)


def test_a_cache_that_cannot_drop_rows_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, index: torch.Tensor) -> None:
        raise AttributeError("no such method")

    assert prove_decoding(tiny_model(0), "model").drops_rows
    monkeypatch.setattr(cache_module.GrowingLayer, "reorder_cache", broken)
    found = prove_decoding(tiny_model(0), "model")
    assert not found.drops_rows
    assert found.refusal is None


def test_decoding_that_is_not_exact_is_refused_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(self: object, query_length: int) -> tuple[int, int]:
        return query_length, 0

    model = tiny_model(0)
    prompts = pad_prompts(model, [[1, 2, 3]], [])
    monkeypatch.setattr(cache_module.GrowingLayer, "update", lambda self, keys, values, *a, **k: (keys, values))
    monkeypatch.setattr(cache_module.GrowingLayer, "get_mask_sizes", forgetful)
    found = prove_decoding(model, "teacher")
    assert found.refusal is not None
    assert found.refusal.startswith(
        "teacher.path='tiny-0': decoding with the architecture LlamaForCausalLM gives other"
    )
    with pytest.raises(UserError, match="gives other logits"):
        Decoder(found, prompts)
    assert Decoder(model, prompts)


def test_rows_leave_within_the_room_that_the_layer_has() -> None:
    drawn = torch.randn(2, 5, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    for index in ([0, 2, 4], [3], [0, 1, 2, 3, 4], [2, 0], [1, 1, 3]):
        layer = cache_module.GrowingLayer(ahead=8)
        layer.update(drawn[0], drawn[1])
        room = layer.update(drawn[0, ..., :0, :], drawn[1, ..., :0, :])[0].data_ptr()
        chosen = torch.tensor(index)
        layer.reorder_cache(chosen)
        more = torch.randn(2, len(index), 3, 1, 2, generator=torch.Generator().manual_seed(1))
        keys, values = layer.update(more[0], more[1])
        assert torch.equal(keys, torch.cat([drawn[0][chosen], more[0]], dim=2))
        assert torch.equal(values, torch.cat([drawn[1][chosen], more[1]], dim=2))
        stays = all(row >= place for place, row in enumerate(index))
        assert (keys.data_ptr() == room) == stays
