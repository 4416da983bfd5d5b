from __future__ import annotations

import pytest
import torch

from opdkit.heads import Head, logsumexp, sampled_log_prob, support_logits, vocabulary_stats


def test_vocabulary_is_every_row_unless_told():
    assert Head(torch.zeros(7, 2)).vocabulary == 7


@pytest.mark.parametrize(
    "arguments",
    [
        {"weight": torch.zeros(7)},
        {"weight": torch.zeros(7, 2), "vocabulary": 8},
        {"weight": torch.zeros(7, 2), "vocabulary": -1},
        {"weight": torch.zeros(7, 2), "bias": torch.zeros(6)},
        {"weight": torch.zeros(7, 2), "scale": 0.0},
        {"weight": torch.zeros(7, 2), "softcap": -1.0},
    ],
)
def test_a_head_that_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match="head"):
        Head(**arguments)


@pytest.mark.parametrize("bad", [-1, 5, 6])
def test_a_padded_row_is_never_scored(bad):
    head, hidden = Head(torch.randn(7, 2), vocabulary=5), torch.randn(1, 2)
    with pytest.raises(IndexError, match=r"vocabulary is 0\.\.4"):
        support_logits(hidden, head, torch.tensor([[0, bad]]))
    with pytest.raises(IndexError, match=r"vocabulary is 0\.\.4"):
        sampled_log_prob(hidden, head, torch.tensor([bad]))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_positive(temperature):
    head, hidden = Head(torch.randn(7, 2)), torch.randn(1, 2)
    with pytest.raises(ValueError, match="temperature"):
        logsumexp(hidden, head, temperature)
    with pytest.raises(ValueError, match="temperature"):
        vocabulary_stats(hidden, head, 2, temperature)


def test_no_position_is_no_error():
    head, hidden, none = Head(torch.randn(7, 2)), torch.randn(0, 2), torch.zeros(0, dtype=torch.int64)
    assert support_logits(hidden, head, none.view(0, 1).expand(0, 3)).shape == (0, 3)
    assert sampled_log_prob(hidden, head, none).shape == (0,)
    found = vocabulary_stats(hidden, head, 3, entropy=True)
    assert found.ids is not None
    assert found.ids.shape == (0, 3)
    assert found.entropy is not None
    assert found.entropy.shape == (0,)
