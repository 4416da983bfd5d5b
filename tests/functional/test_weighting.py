from __future__ import annotations

import pytest
import torch

from opdkit.errors import UserError
from opdkit.functional.weighting import CumulativeRatio, EntropySelected, PositionDecay

MASK = torch.tensor([[True, True, False, True, True], [True, False, False, False, False]])


def test_entropy_keeps_the_unsurest_counted_tokens():
    entropy = torch.tensor([[0.1, 0.9, 5.0, 0.9, 0.2], [0.0, 7.0, 7.0, 7.0, 7.0]])
    assert EntropySelected(0.5)(None, entropy, MASK).tolist() == [[0, 1, 0, 1, 0], [1, 0, 0, 0, 0]]
    assert EntropySelected(0.25)(None, entropy, MASK)[0].tolist() == [0, 1, 0, 0, 0]  # the earlier of two equals
    assert EntropySelected(0.3)(None, entropy, MASK)[0].tolist() == [0, 1, 0, 1, 0]  # 1.2 of four: two
    assert torch.equal(EntropySelected(1.0)(None, entropy, MASK).bool(), MASK)


def test_entropy_selects_nothing_of_a_response_without_counted_tokens():
    assert EntropySelected(0.5)(None, torch.ones(1, 3), torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[0, 0, 0]]


def test_cumulative_ratio_is_the_papers():
    """w_t = 1 + g (1 - sum_{s<t} |a_s| / sum_s |a_s|) over counted tokens."""
    ratio = torch.tensor([[1.0, -2.0, 100.0, 3.0, 4.0], [0.0, 9.0, 9.0, 9.0, 9.0]], requires_grad=True)
    found = CumulativeRatio(0.5)(ratio, None, MASK)
    expected = [1.5, 1 + 0.5 * 0.9, None, 1 + 0.5 * 0.7, 1 + 0.5 * 0.4]
    for weight, wanted in zip(found[0].tolist(), expected, strict=True):
        assert wanted is None or weight == pytest.approx(wanted)
    assert found[1, 0].item() == 1.5
    assert not found.requires_grad


def test_position_halves():
    found = PositionDecay(2.0)(None, None, MASK)
    assert found[0].tolist() == pytest.approx([1, 2**-0.5, 0.5, 2**-1.5, 0.25])


@pytest.mark.parametrize(
    ("kind", "value"),
    [(EntropySelected, 0.0), (EntropySelected, 1.1), (CumulativeRatio, 0.0), (PositionDecay, 0.0)],
)
def test_refuses_what_is_out_of_range(kind, value):
    with pytest.raises(UserError, match=rf"objective\.weighting\.\w+={value}"):
        kind(value)
