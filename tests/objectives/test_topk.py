from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from opdkit.data.loss import Needs, TokenBatch
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.supports import join_supports
from opdkit.heads import Head, support_logits, vocabulary_stats
from tests.objectives.presets import top_k
from tests.reference import full_logits, full_reverse_kl

MASK = torch.tensor([[True, True, False], [True, False, False]])


def _loss(student, teacher, mask=MASK, support_mask=None, k=2):
    batch = TokenBatch(mask)
    return top_k(k=k)(
        Scores(support_logits=student), Scores(support_logits=teacher, support_mask=support_mask), batch
    ).value


def _pair(k=4, seed=0, shape=(2, 3)):
    source = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, *shape, k, dtype=torch.float64, generator=source).unbind()
    return student.requires_grad_(), teacher


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"k": 1}, r"objective\.k=1.*at least 2"),
        ({"k": 0}, r"objective\.k=0"),
        ({"support": "teachr"}, "teacher, student, union"),
    ],
)
def test_refuses_what_makes_no_sense(arguments, key):
    with pytest.raises(UserError, match=key):
        top_k(**arguments)


def test_one_id_would_always_give_zero():
    """Why k = 1 is refused."""
    student, teacher = _pair(k=1)
    loss = _loss(student, teacher)
    loss.sum().backward()
    assert not loss.any()
    assert student.grad is not None
    assert not student.grad.any()


@pytest.mark.parametrize("source", ["teacher", "student", "union"])
def test_asks_for_the_support_and_for_no_normaliser(source):
    assert top_k(k=7, support=source).needs == Needs(support=source, k=7)


def test_gradient_formula():
    """d loss / d z_v = pi^_v (log(pi^_v / q^_v) - loss) inside S and mask, 0 elsewhere (method A2)."""
    student, teacher = _pair()
    value = _loss(student, teacher)
    value.sum().backward()
    pi, q = student.detach().softmax(-1), teacher.softmax(-1)
    expected = pi * ((pi / q).log() - value.detach()[..., None])
    torch.testing.assert_close(student.grad, torch.where(MASK[..., None], expected, 0.0))


def test_zero_outside_the_support():
    """Through the head: rows of lm_head outside S get no gradient."""
    student_weight = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)
    teacher_head, hidden = Head(torch.randn(11, 3).double()), torch.randn(1, 3).double()
    found = vocabulary_stats(hidden, teacher_head, 4)
    assert found.ids is not None
    assert found.logits is not None
    logits = support_logits(hidden, Head(student_weight), found.ids)
    _loss(logits[None], found.logits[None], torch.ones(1, 1).bool(), k=4).sum().backward()
    assert student_weight.grad is not None
    outside = torch.ones(11).bool()
    outside[found.ids[0]] = False
    assert not student_weight.grad[outside].any()
    assert student_weight.grad[~outside].abs().sum(1).all()


def test_gradient_by_finite_differences():
    student, teacher = _pair()
    assert gradcheck(lambda s: _loss(s, teacher), (student,))


def test_no_gradient_reaches_the_teacher():
    student, teacher = _pair()
    _loss(student, teacher.requires_grad_()).sum().backward()
    assert teacher.grad is None


def test_masked_positions_are_zero_and_leak_no_nan():
    student, teacher = _pair()
    with torch.no_grad():
        student[~MASK], teacher[~MASK] = torch.nan, torch.inf
    value = _loss(student, teacher)
    value.sum().backward()
    assert not value[~MASK].any()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert not student.grad[~MASK].any()


class SurenessWeighting:
    """A weighting of one's own that looks at entropies without asking which tokens count."""

    needs_log_ratio = False

    def __call__(self, log_ratio, entropy, mask):
        return 1.0 / entropy


def test_a_weight_of_a_masked_token_is_not_felt():
    student, teacher = _pair()
    entropy = torch.where(MASK, 2.0, 0.0).double()
    batch = TokenBatch(MASK, entropy=entropy)
    scores = Scores(support_logits=student), Scores(support_logits=teacher)
    plain = top_k(k=2)(*scores, batch).value
    weighted = dataclasses.replace(top_k(k=2), weighting=SurenessWeighting())(*scores, batch).value
    torch.testing.assert_close(weighted, 0.5 * plain)


class RatioWeighting:
    """A weighting of one's own by the log-ratio itself."""

    needs_log_ratio = True

    def __call__(self, log_ratio, entropy, mask):
        return log_ratio


def test_a_weighting_sees_the_log_ratio_of_the_student_that_wrote():
    student, teacher = _pair()
    log_p, log_q, old = torch.randn(3, *MASK.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    batch = TokenBatch(MASK, old_log_prob=old)
    scores = (
        Scores(support_logits=student, sampled_log_prob=log_p),
        Scores(support_logits=teacher, sampled_log_prob=log_q),
    )
    plain = top_k(k=2)(*scores, batch).value
    weighted = dataclasses.replace(top_k(k=2), weighting=RatioWeighting())(*scores, batch).value
    torch.testing.assert_close(weighted[MASK], ((old - log_q) * plain)[MASK])


def test_a_nan_that_counts_is_not_hidden():
    student, teacher = _pair()
    with torch.no_grad():
        student[0, 0, 0] = torch.nan
    assert _loss(student, teacher)[0, 0].isnan()


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 9), spread=st.floats(0.1, 40))
def test_student_equal_to_teacher_gives_zero(seed, k, spread):
    logits, _ = _pair(k, seed)
    logits = (logits * spread).detach().requires_grad_()
    value = _loss(logits, logits.detach().clone())
    value.sum().backward()
    assert not value.any()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    vocabulary=st.integers(2, 12),
    padding=st.integers(0, 4),
    softcap=st.sampled_from([None, 3.0]),
)
def test_whole_vocabulary_equals_the_full_reverse_kl(seed, vocabulary, padding, softcap):
    """K = V through survey and support rows: value and gradient of an independent [N, V] formula."""
    source = torch.Generator().manual_seed(seed)
    shape = (vocabulary + padding, 3)
    weight = torch.randn(shape, dtype=torch.float64, generator=source, requires_grad=True)
    teacher = Head(torch.randn(shape, dtype=torch.float64, generator=source), None, 1.5, softcap, vocabulary)
    hidden = torch.randn(5, 3, dtype=torch.float64, generator=source, requires_grad=True)
    student = Head(weight, None, 0.8, softcap, vocabulary)
    found = vocabulary_stats(hidden, teacher, vocabulary, 0.7)
    assert found.ids is not None
    assert found.logits is not None
    ours = _loss(support_logits(hidden, student, found.ids, 0.7)[None], found.logits[None], torch.ones(1, 5).bool())[0]
    theirs = full_logits(hidden.detach(), teacher, 0.7)
    full = full_reverse_kl(full_logits(hidden, student, 0.7), theirs)
    torch.testing.assert_close(ours, full)
    mine = torch.autograd.grad(ours.sum(), (hidden, weight))
    for a, b in zip(mine, torch.autograd.grad(full.sum(), (hidden, weight)), strict=True):
        torch.testing.assert_close(a, b)


def test_the_gradient_follows_the_teacher_and_raises_what_it_prefers():
    student = torch.zeros(1, 1, 3, dtype=torch.float64, requires_grad=True)
    for favourite in range(3):
        teacher = torch.nn.functional.one_hot(torch.tensor([[favourite]]), 3).double()
        (gradient,) = torch.autograd.grad(_loss(student, teacher, torch.ones(1, 1).bool()).sum(), student)
        assert (-gradient).argmax() == favourite
        assert -gradient[0, 0, favourite] > 0


def test_student_mass_on_the_support_is_free():
    """A constant added to the support's logits alone changes nothing (method A2)."""
    student, teacher = _pair()
    torch.testing.assert_close(_loss(student + 5.0, teacher), _loss(student, teacher))


def test_a_joined_support_counts_each_id_once():
    logits = torch.randn(2, 1, 1, 9, dtype=torch.float64)
    ids, mask = join_supports([torch.tensor([[[4, 7]]]), torch.tensor([[[7, 2]]])])
    gathered = logits.gather(-1, ids.expand(2, 1, 1, 4))
    once = logits[..., [4, 7, 2]]
    everywhere = torch.ones(1, 1).bool()
    torch.testing.assert_close(_loss(gathered[0], gathered[1], everywhere, mask), _loss(once[0], once[1], everywhere))


def test_a_filler_of_the_support_hides_no_token_from_the_tail():
    """The sampled id lies outside the support, whose last column is filler."""
    source = torch.Generator().manual_seed(3)
    logits = torch.randn(2, *MASK.shape, 3, dtype=torch.float64, generator=source)
    ids = torch.tensor([4, 2, 4]).expand(*MASK.shape, 3)
    filled = torch.tensor([True, True, False]).expand_as(ids)
    objective = top_k(k=2, support="union", tail="sampled")
    batch = TokenBatch(MASK, tokens=torch.full(MASK.shape, 6))
    values = []
    for width, mask in ((2, None), (3, filled)):
        ours, theirs = (
            Scores(
                sampled_log_prob=torch.full(MASK.shape, share, dtype=torch.float64).log(),
                support_ids=ids[..., :width],
                support_mask=mask,
                support_logits=model[..., :width],
                logsumexp=model.logsumexp(-1) + 1.0,
            )
            for share, model in zip((0.2, 0.1), logits, strict=True)
        )
        values.append(objective(ours, theirs, batch).value)
    torch.testing.assert_close(values[0], values[1])
    without = top_k(k=2, support="union", tail="drop")(ours, theirs, batch).value
    assert (values[1] - without)[MASK].abs().min() > 1e-3


def test_finite_at_extreme_logits():
    student = torch.tensor([[[1e30, -1e30]]], requires_grad=True)
    value = _loss(student, torch.tensor([[[-1e4, 1e4]]]), torch.ones(1, 1).bool())
    value.sum().backward()
    assert value.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()
