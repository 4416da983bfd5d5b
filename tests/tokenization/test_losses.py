"""Span sums, ULD and GOLD in float64, and their limits with one tokenizer for both models."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.functional.divergences import JensenShannon
from opdkit.tokenization import (
    align,
    gold,
    merge_spans,
    share_span_log_ratio,
    shared_vocabulary,
    span_log_ratio,
    span_sums,
    uld,
)
from tests.tokenization.tiny import Merges, letters, merges


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(merges, merges, letters, st.integers(0, 99))
def test_spans_sum_both_sides_and_share_the_difference(
    student: Merges, teacher: Merges, text: bytes, seed: int
) -> None:
    ours, theirs = student.encode(text, stopped=True), teacher.encode(text, stopped=True)
    found = align(student.table.symbols(ours), teacher.table.symbols(theirs))
    p, q = -random(len(ours), seed=seed).abs(), -random(len(theirs), seed=seed + 1).abs()
    ratio = span_log_ratio(p, q, found)
    shared = share_span_log_ratio(p, q, found)
    for index, group in enumerate(found.groups):
        a, b = p[list(group.student)], q[list(group.teacher)]
        assert ratio[index].item() == pytest.approx((b.sum() - a.sum()).item())
        assert shared[list(group.student)].sum().item() == pytest.approx(b.sum().item())
        if group.strict:
            assert shared[group.student.start] == q[group.teacher.start]
        torch.testing.assert_close(shared[list(group.student)] - a, (ratio[index] / len(a)).expand(len(a)))
    assert ratio.sum().item() == pytest.approx((q.sum() - p.sum()).item())


def test_one_tokenizer_for_both_is_the_token_by_token_log_prob_bit_for_bit() -> None:
    both = Merges([(0, 1)])
    tokens = both.table.symbols(both.encode(b"abba"))
    p, q = random(len(tokens)).float(), random(len(tokens), seed=1).float()
    assert torch.equal(share_span_log_ratio(p, q, align(tokens, tokens)), q)


def test_gradient_flows_through_span_sums() -> None:
    values = random(3).requires_grad_()
    span_sums(values, [range(2), range(2, 3)])[0].backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0, 1.0, 0.0]


def test_uld_is_l1_of_sorted_probabilities() -> None:
    p, q = torch.tensor([0.1, 0.6, 0.3]).log(), torch.tensor([0.5, 0.2, 0.2, 0.1]).log()
    assert uld(p, q).item() == pytest.approx(0.1 + 0.1 + 0.1 + 0.1)
    assert uld(q, p).item() == uld(p, q).item()
    order = torch.tensor([2, 0, 1])
    assert uld(p, p[order]).item() == 0.0


def test_a_merged_span_is_its_first_distribution_times_what_follows() -> None:
    log_prob = random(3, 4).log_softmax(-1)
    tokens = torch.tensor([1, 3, 0])
    merged = merge_spans(log_prob, tokens, [range(2), range(2, 3)])
    torch.testing.assert_close(merged[0], log_prob[0] + log_prob[1, 3])
    assert torch.equal(merged[1], log_prob[2])
    torch.testing.assert_close(merged[0, 1], log_prob[0, 1] + log_prob[1, 3])


def test_gold_with_one_vocabulary_is_the_jsd() -> None:
    both = Merges([(0, 1), (1, 1)]).table
    size = len(both.strings)
    p, q = random(5, size).log_softmax(-1), random(5, size, seed=1).log_softmax(-1)
    shared = shared_vocabulary(both, both, (size, size))
    expected = JensenShannon(0.3).terms(p, q).sum(-1)
    assert torch.equal(gold(p, q, shared.pairs, beta=0.3), expected)
    assert torch.equal(gold(p, q, None, beta=0.3), expected)
    torch.testing.assert_close(gold(p, p, shared.pairs), torch.zeros(5, dtype=torch.float64))


def test_gold_compares_shared_ids_by_name_and_the_others_by_rank() -> None:
    student, teacher = Merges([(0, 1)]), Merges([(1, 1), (1, 0)])
    sizes = (len(student.table.strings), len(teacher.table.strings))
    shared = shared_vocabulary(student.table, teacher.table, sizes)
    p, q = random(sizes[0]).log_softmax(-1), random(sizes[1], seed=1).log_softmax(-1)
    pairs = [(0, 0), (1, 1), (student.stop, teacher.stop)]
    jsd = sum(JensenShannon().terms(p[i], q[j]).item() for i, j in pairs)
    alone, others = [p[2].exp().item(), 0.0], sorted((q[2].exp().item(), q[3].exp().item()), reverse=True)
    rank = sum(abs(a - b) for a, b in zip(alone, others, strict=True))
    assert gold(p, q, shared.pairs, weights=(1.0, 1.0)).item() == pytest.approx(jsd + rank)
    share = len(pairs) / sizes[1]  # of the teacher's vocabulary, as published
    assert gold(p, q, shared.pairs).item() == pytest.approx(share * jsd + (1 - share) * rank)
