"""Drawing by the inverse distribution function: exact shares of a grid, no statistics."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opdkit.errors import RunError
from opdkit.samplers import Ancestral, Greedy, MinP, TopK, TopP, draw

SAMPLERS = [Ancestral(), TopP(0.8), TopK(2), MinP(0.4), Greedy()]
GRID = 4000


def grid_shares(logits: Tensor, allowed: Tensor) -> Tensor:
    """f64[V], the share of a uniform grid that each id gets."""
    uniform = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    chosen = draw(logits.expand(GRID, -1), allowed.expand(GRID, -1), uniform)
    return chosen.bincount(minlength=logits.shape[-1]).double() / GRID


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.sampled_from(SAMPLERS))
@settings(deadline=None, max_examples=40)
def test_each_id_gets_its_renormalised_probability(row: list[float], sampler: TopP) -> None:
    logits = torch.tensor([row], dtype=torch.float64)
    allowed = sampler(logits)
    expected = logits.masked_fill(~allowed, -math.inf).softmax(dim=-1)[0]
    # An interval of length q holds between q GRID - 1 and q GRID + 1 points of the grid.
    assert (grid_shares(logits, allowed) - expected).abs().max() <= 1 / GRID + 1e-12


def test_ids_are_laid_out_in_order_from_zero_to_one() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().expand(5, -1)
    uniform = torch.tensor([0.0, 0.499, 0.501, 0.749, 0.751])
    assert draw(logits, torch.ones(5, 3, dtype=torch.bool), uniform).tolist() == [0, 0, 1, 1, 2]


def test_zero_gives_the_first_allowed_id_though_another_is_likelier() -> None:
    logits = torch.tensor([[9.0, 0.0, 1.0]])
    assert draw(logits, torch.tensor([[False, True, True]]), torch.zeros(1)).item() == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_filtered_id_never_comes_out_at_the_ends(sampler: TopP, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 31, generator=generator, dtype=dtype) * 4
    logits[:, [0, 30]] = -torch.inf
    allowed = sampler(logits)
    below_one = torch.nextafter(torch.ones((), dtype=dtype), torch.zeros((), dtype=dtype)).item()
    for edge in (0.0, below_one, 1.0):
        chosen = draw(logits, allowed, torch.full((200,), edge, dtype=dtype))
        assert allowed.gather(1, chosen[:, None]).all()


def test_an_allowed_id_without_mass_is_not_the_last() -> None:
    logits = torch.tensor([[0.0, 0.0, -1e5]])
    assert draw(logits, torch.ones(1, 3, dtype=torch.bool), torch.ones(1)).item() == 1


def test_rows_do_not_depend_on_each_other() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(16, 300, generator=generator)
    uniform = torch.rand(16, generator=generator)
    allowed = TopP(0.9)(logits)
    together = draw(logits, allowed, uniform)
    alone = [draw(logits[i : i + 1], allowed[i : i + 1], uniform[i : i + 1]).item() for i in range(16)]
    assert together.tolist() == alone


@pytest.mark.parametrize("damage", [math.nan, math.inf])
def test_logits_that_are_not_finite_end_the_run(damage: float) -> None:
    logits = torch.tensor([[0.0, damage]])
    with pytest.raises(RunError, match="not finite"):
        draw(logits, torch.ones(1, 2, dtype=torch.bool), torch.tensor([0.5]))


def test_no_mask_is_a_mask_of_everything() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(50, 40, generator=generator)
    logits[:, 7] = -torch.inf
    uniform = torch.rand(50, generator=generator)
    assert torch.equal(draw(logits, None, uniform), draw(logits, Ancestral()(logits), uniform))


def test_nothing_allowed_is_an_error_and_not_an_id() -> None:
    with pytest.raises(RunError):
        draw(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool), torch.tensor([0.5]))
