"""Projected gradients against whole ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from opdkit.diagnostics.projection import Projection, layer_of, names_of


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(7, 5)
        self.layers = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.norm = nn.LayerNorm(5)

    def forward(self, ids: Tensor) -> Tensor:
        state = self.embed_tokens(ids)
        for layer in self.layers:
            state = torch.tanh(layer(state))
        return self.norm(state)


@pytest.fixture
def tiny() -> Tiny:
    torch.manual_seed(0)
    return Tiny().double()


def gradient(module: nn.Module, loss: Tensor, layer: str) -> Tensor:
    """The whole gradient of a layer, flat, by autograd."""
    wanted = {name: p for name, p in module.named_parameters() if layer_of(name) == layer}
    found = torch.autograd.grad(loss, list(wanted.values()), retain_graph=True, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None])


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.self_attn.q_proj.weight", "layer-03"),
        ("transformer.h.11.mlp.bias", "layer-11"),
        ("layers.0.weight", "layer-00"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("lm_head.weight", "lm_head"),
        ("model.norm.weight", "norm"),
        ("scale", "scale"),
    ],
)
def test_layers(name: str, layer: str) -> None:
    assert layer_of(name) == layer


def test_projections_add_up_as_gradients_do(tiny: Tiny) -> None:
    """Linear: the projection of a sum is the sum of projections, and taking begins anew."""
    projection = Projection(dict(tiny.named_parameters()), 16, seed=3)
    first, second = tiny(torch.tensor([1, 2]))[:, :2].square().sum(), tiny(torch.tensor([3]))[:, :2].sum()
    with projection:
        first.backward(retain_graph=True)
        a = projection.taken()
        second.backward(retain_graph=True)
        b = projection.taken()
        (first + second).backward()
        both = projection.taken()
    torch.testing.assert_close(a + b, both)
    assert (projection.taken() == 0.0).all()
    assert projection.layers == ("embed_tokens", "layer-00", "layer-01", "norm")
    assert both.shape == (4, 16)


def test_products_are_right_in_the_mean_over_seeds(tiny: Tiny) -> None:
    """<Pa, Pb> over 400 projections: the mean is <a, b>, and its spread what is promised at most."""
    size, layer = 16, "layer-00"
    first, second = tiny(torch.tensor([1, 2]))[:, :2].square().sum(), tiny(torch.tensor([3]))[:, :2].sum()
    a, b = (gradient(tiny, loss, layer) for loss in (first, second))
    products, squares = [], []
    for seed in range(400):
        projection = Projection(dict(tiny.named_parameters()), size, seed)
        with projection:
            first.backward(retain_graph=True)
            projected = projection.taken()[1]
            second.backward(retain_graph=True)
            products.append(float(projected @ projection.taken()[1]))
        squares.append(float(projected.square().sum()))
    for found, truth in ((torch.tensor(products), float(a @ b)), (torch.tensor(squares), float(a @ a))):
        assert abs(float(found.mean()) - truth) < 4 * float(found.std()) / 20
    relative = float(torch.tensor(squares).std()) / float(a @ a)
    assert relative < 2 * projection.expected_error  # 30 numbers in 16: not spread evenly


def test_error_is_told(tiny: Tiny) -> None:
    projection = Projection(dict(tiny.named_parameters()), 16, seed=0)
    assert math.isnan(projection.error)
    exact = projected = 0.0
    for index in range(3):
        loss = tiny(torch.tensor([index])).square().sum() + tiny(torch.tensor([index])).sum()
        exact += sum(float(gradient(tiny, loss, layer).square().sum()) for layer in projection.layers)
        with projection:
            loss.backward()
            projected += float(projection.taken().square().sum())
    assert projection.error == pytest.approx(projected / exact - 1.0)
    assert projection.error != 0.0
    assert projection.expected_error == pytest.approx(0.3536, abs=1e-4)


def test_large_enough_keeps_everything(tiny: Tiny) -> None:
    """With as many numbers as a parameter has, nothing collides within it."""
    weight = {"layers.0.weight": tiny.layers[0].weight}
    projection = Projection(weight, 25, seed=0)
    with projection:
        (tiny(torch.tensor([1])).sum() + tiny(torch.tensor([2])).sum()).backward()
        kept = projection.taken()
    assert kept.abs().sort().values.squeeze().tolist() == pytest.approx(
        tiny.layers[0].weight.grad.abs().flatten().sort().values.tolist()
    )
    assert projection.error == pytest.approx(0.0, abs=1e-12)


def test_hooks_are_gone_afterwards(tiny: Tiny) -> None:
    projection = Projection(dict(tiny.named_parameters()), 4, seed=0)
    with projection:
        pass
    tiny(torch.tensor([1])).sum().backward()
    assert (projection.taken() == 0.0).all()


def test_names_of(tiny: Tiny) -> None:
    assert list(names_of(tiny, [tiny.norm.bias, tiny.layers[1].weight])) == ["layers.1.weight", "norm.bias"]
