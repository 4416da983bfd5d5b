from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdkit.heads import Head, support_logits, vocabulary_stats
from opdkit.heads.running_top_k import RunningTopK, top_k_of_rows
from tests.reference import full_logits


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("k", [1, 4, 21])
def test_equals_a_sort_of_the_full_product(kind, k):
    weight, bias = kind.parts()
    hidden = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    head = kind.head(weight, bias)
    found = vocabulary_stats(hidden, head, k, kind.temperature, entropy=True)
    full = full_logits(hidden, head, kind.temperature)
    values, ids = full.sort(dim=1, descending=True, stable=True)
    torch.testing.assert_close(found.ids, ids[:, :k], rtol=0, atol=0)
    torch.testing.assert_close(found.logits, values[:, :k])
    torch.testing.assert_close(found.logsumexp, full.logsumexp(1))
    log_p = full.log_softmax(1)
    torch.testing.assert_close(found.entropy, -(log_p.exp() * log_p).sum(1))


def test_only_what_was_asked_for():
    hidden, head = torch.randn(3, 4), Head(torch.randn(9, 4, requires_grad=True))
    bare = vocabulary_stats(hidden, head, 0, normaliser=False)
    assert (bare.ids, bare.logits, bare.logsumexp, bare.entropy) == (None, None, None, None)
    top = vocabulary_stats(hidden.requires_grad_(), head, 2, normaliser=False)
    assert top.logsumexp is None
    assert top.logits is not None
    assert not top.logits.requires_grad
    assert vocabulary_stats(hidden, head, 0, entropy=True, normaliser=False).logsumexp is not None


def test_more_than_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="k is 10"):
        vocabulary_stats(torch.randn(3, 4), Head(torch.randn(12, 4), vocabulary=9), 10)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_leaders_break_ties_by_id_however_the_tiles_fall(data: st.DataObject):
    """Few distinct values, so that ties cross every boundary: block, tile and the k-th place."""
    rows, size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 400))
    k, step = data.draw(st.integers(1, min(size, 40))), data.draw(st.integers(1, 200))
    source = torch.Generator().manual_seed(data.draw(st.integers(0, 2**31)))
    distinct = data.draw(st.sampled_from([1, 2, 7, 10_000]))
    gap = data.draw(st.sampled_from([1.0, 2.0**-20]))  # a near tie is no tie
    logits = gap * torch.randint(0, distinct, (rows, size), generator=source).float()
    leaders = RunningTopK(rows, k, logits.device, logits.dtype)
    for start in range(0, size, step):
        leaders.update(logits[:, start : start + step].clone(), start)
    expected = logits.sort(dim=1, descending=True, stable=True)
    for ids, values in (leaders.result(), top_k_of_rows(logits, k)):
        torch.testing.assert_close(ids, expected.indices[:, :k], rtol=0, atol=0)
        torch.testing.assert_close(values, expected.values[:, :k], rtol=0, atol=0)


def test_ascending_logits_the_worst_order():
    logits = torch.arange(1000.0).expand(3, -1)
    leaders = RunningTopK(3, 5, logits.device, logits.dtype)
    for start in range(0, 1000, 130):
        leaders.update(logits[:, start : start + 130].clone(), start)
    assert leaders.result()[0].tolist() == [[999, 998, 997, 996, 995]] * 3


def test_real_size_against_a_sort():
    source = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(40, 16, generator=source), Head(torch.randn(20_011, 16, generator=source))
    found = vocabulary_stats(hidden, head, 32)
    logits = hidden @ head.weight.t()
    expected = logits.sort(dim=1, descending=True, stable=True)
    assert found.ids is not None
    # Products may differ in the last bit with the tile's shape, which can swap near ties.
    assert (found.ids == expected.indices[:, :32]).float().mean() > 0.99
    torch.testing.assert_close(found.logits, expected.values[:, :32])
    torch.testing.assert_close(found.logsumexp, logits.logsumexp(1))


def test_bfloat16_gives_the_logits_that_a_student_of_equal_weights_computes():
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(30, 16, generator=source).bfloat16()
    head = Head(torch.randn(500, 16, generator=source).bfloat16())
    found = vocabulary_stats(hidden, head, 8)
    assert found.ids is not None
    assert found.logits is not None
    torch.testing.assert_close(found.logits, support_logits(hidden, head, found.ids))
    assert found.logsumexp is not None
    full = full_logits(hidden, head)
    # To float32's last places, not to bfloat16's: the rest of the vocabulary is what these two leave.
    torch.testing.assert_close(found.logsumexp, full.logsumexp(1).float())
    torch.testing.assert_close(found.logits, full.gather(1, found.ids).float())
    assert (found.logits[:, 1:] <= found.logits[:, :-1]).all()


def test_entropy_of_a_sure_and_of_an_unsure_model():
    head = Head(torch.tensor([[1.0], [0.0], [0.0], [0.0]]))
    found = vocabulary_stats(torch.tensor([[1e6], [0.0]]), head, 1, entropy=True)
    assert found.entropy is not None
    torch.testing.assert_close(found.entropy, torch.tensor([0.0, 4.0]).clamp_min(1).log())
