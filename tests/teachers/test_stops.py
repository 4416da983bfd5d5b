"""Stop tokens that disagree: the end of a response is scored as the end under either side's ids."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.heads import Head
from opdkit.models import LanguageModel, Request
from opdkit.teachers.stops import Stops, with_gain
from tests.teachers.test_retokenized import STUDENT_MERGES, TEACHER_MERGES, TEMPERATURE, opened, rollout_of
from tests.tiny import tiny_model, tiny_tokenizer

EOS, USER, ASSISTANT = 257, 258, 259
ANSWERS = ("the thin\n\nthing <eos>", "he then thinks<assistant>", "thé 漢\ttt")


def model(seed: int, merges: tuple[tuple[str, str], ...], stops: list[int]) -> LanguageModel:
    tokenizer = tiny_tokenizer(merges)
    return tiny_model(seed, tokenizer=tokenizer, vocab_size=len(tokenizer), eos_token_id=stops)


STUDENT = model(0, STUDENT_MERGES, [EOS, ASSISTANT])
TEACHER = model(1, TEACHER_MERGES, [EOS, USER])
ROLLOUT = rollout_of(STUDENT, ANSWERS)
ENDS = [(0, EOS), (1, ASSISTANT)]
"""Rows that end, and with which id."""


def last(row: int) -> int:
    return int(ROLLOUT.sampled_mask[row].sum()) - 1


@torch.no_grad()
def log_end(row: int, rollout: Rollout = ROLLOUT) -> Tensor:
    """log-probs of the teacher where the response ends, f[V']: the text before, by its own tokens, in one pass."""
    text = ANSWERS[row].removesuffix("<eos>").removesuffix("<assistant>")
    prompt = TEACHER.render(rollout.prompts.problems[row].messages)
    ids = [*prompt, *TEACHER.tokenizer.encode(text, add_special_tokens=False)]
    return (TEACHER.module(torch.tensor([ids])).logits[0, -1] / TEMPERATURE).log_softmax(-1)


@torch.no_grad()
def log_share(row: int, stop: int, place: int) -> Tensor:
    """log p(stop) - log p(end) of the student before a token of its response, in float64."""
    prompt = STUDENT.render(ROLLOUT.prompts.problems[row].messages)
    ids = torch.tensor([[*prompt, *ROLLOUT.tokens[row, :place].tolist()]])
    logits = deepcopy(STUDENT.module).double()(ids).logits[0, -1] / TEMPERATURE
    return logits[stop] - logits[[EOS, ASSISTANT]].logsumexp(0)


@pytest.mark.parametrize("mode", ["strict", "byte_prefix", "byte_filter", "span"])
def test_both_of_the_teacher_s_stops_are_the_end_whichever_the_student_wrote(mode: str) -> None:
    assert (STUDENT.stop_ids, TEACHER.stop_ids) == ({EOS, ASSISTANT}, {EOS, USER})
    found = opened(mode, TEACHER, STUDENT).score(ROLLOUT, ROLLOUT.sampled_mask, Request(sampled=True))
    assert found.sampled_log_prob is not None
    assert found.scored is not None
    for row, stop in ENDS:
        assert int(ROLLOUT.tokens[row, last(row)]) == stop
        assert bool(found.scored[row, last(row)])
        told = log_end(row)
        end, share = torch.logaddexp(told[EOS], told[USER]), log_share(row, stop, last(row))
        assert end > told[EOS] + 1e-3
        assert share < -1e-3
        expected = (end + share).float()
        torch.testing.assert_close(found.sampled_log_prob[row, last(row)], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["strict", "byte_prefix"])
@pytest.mark.parametrize("k", [1, 2, 8])
def test_the_end_is_in_the_teacher_s_support_by_all_its_stops(mode: str, k: int) -> None:
    """Of the masses that the student's ids take, the k greatest; the end is the id that the student wrote, and has
    the part of it that this id has of the student's."""
    request = Request(top_k=k, normaliser=True, stats_k=k)
    found = opened(mode, TEACHER, STUDENT).score(ROLLOUT, ROLLOUT.sampled_mask, request)
    assert found.support_ids is not None
    assert found.support_logits is not None
    assert found.logsumexp is not None
    for row, stop in ENDS:
        log_prob = found.support_logits[row, last(row)] - found.logsumexp[row, last(row)]
        ids = found.support_ids[row, last(row)].tolist()
        other = ({EOS, ASSISTANT} - {stop}).pop()
        assert other not in ids
        told = log_end(row)
        end = torch.logaddexp(told[EOS], told[USER])
        if stop in ids:
            expected = (end + log_share(row, stop, last(row))).float()
            torch.testing.assert_close(log_prob[ids.index(stop)], expected, rtol=1e-4, atol=1e-4)
        else:
            assert bool((log_prob >= end - 1e-4).all())


def test_a_given_support_is_read_with_the_written_stop() -> None:
    given = torch.tensor([EOS, ASSISTANT, 100]).expand(*ROLLOUT.tokens.shape, 3)
    for mode in ("strict", "byte_prefix"):
        found = opened(mode, TEACHER, STUDENT).score(ROLLOUT, ROLLOUT.sampled_mask, Request(support_ids=given))
        assert found.support_mask is not None
        assert found.support_ids is not None
        for row, stop in ENDS:
            known = found.support_ids[row, last(row)][found.support_mask[row, last(row)]].tolist()
            assert stop in known
            assert ({EOS, ASSISTANT} - {stop}).pop() not in known


@torch.no_grad()
def test_elsewhere_the_first_of_the_student_s_stops_has_its_part_of_the_end() -> None:
    given = torch.tensor([EOS, ASSISTANT]).expand(*ROLLOUT.tokens.shape, 2)
    found = opened("strict", TEACHER, STUDENT).score(
        ROLLOUT, ROLLOUT.sampled_mask, Request(support_ids=given, normaliser=True)
    )  # fmt: skip
    assert found.support_logits is not None
    assert found.support_mask is not None
    assert found.logsumexp is not None
    assert found.scored is not None
    place = int(found.scored[0].nonzero()[0])
    begun = STUDENT.tokenizer.decode(ROLLOUT.tokens[0, :place].tolist())
    ids = TEACHER.render(ROLLOUT.prompts.problems[0].messages) + TEACHER.tokenizer.encode(
        begun, add_special_tokens=False
    )  # fmt: skip
    told = (TEACHER.module(torch.tensor([ids])).logits[0, -1] / TEMPERATURE).log_softmax(-1)
    expected = torch.logaddexp(told[EOS], told[USER]) + log_share(0, EOS, place).float()
    log_prob = found.support_logits[0, place, 0] - found.logsumexp[0, place]
    torch.testing.assert_close(log_prob, expected, rtol=1e-4, atol=1e-4)
    assert found.support_mask[0, place].tolist() == [True, False]


@pytest.mark.parametrize("seed", range(3))
def test_with_shares_the_student_learns_the_end_as_one_event(seed: int) -> None:
    """The expected gradient of log p - log q over the ids is that of the reverse KL between the probabilities of an end
    and of the other ids, enumerated in float64; with q(end) for each stop it is another."""
    source = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, generator=source, dtype=torch.float64, requires_grad=True)
    end_q, *other_q = torch.randn(4, generator=source, dtype=torch.float64).log_softmax(-1)
    stops, others = Stops((1, 4, 2), (7,)), [0, 3, 5]

    def merged() -> Tensor:
        log_p = logits.log_softmax(-1)
        events = torch.stack([log_p[list(stops.ours)].logsumexp(0), *log_p[others]])
        return (events.exp() * (events - torch.stack([end_q, *other_q]))).sum()

    def expected(*, shares: bool) -> Tensor:
        log_p, log_q = logits.log_softmax(-1), torch.zeros(6, dtype=torch.float64)
        log_q[others] = torch.stack(other_q)
        for stop in stops.ours:
            part = stops.share(logits.detach()[list(stops.ours)], torch.tensor(stop))
            log_q[stop] = end_q + (part if shares else 0.0)
        return (log_p.exp().detach() * (log_p.detach() - log_q) * log_p).sum()

    (wanted,) = torch.autograd.grad(merged(), logits)
    (found,) = torch.autograd.grad(expected(shares=True), logits)
    (without,) = torch.autograd.grad(expected(shares=False), logits)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
    assert bool((without - wanted).abs().max() > 1e-3)


def test_the_stop_that_was_written_speaks_of_the_end() -> None:
    stops, tokens = Stops((5, 9), (1,)), torch.tensor([[9, 3], [5, 9]])
    assert stops.stand_in(tokens).tolist() == [[9, 5], [5, 9]]
    logits = torch.tensor([2.0, 1.0], dtype=torch.float64)
    both = stops.share(logits.expand(2, 2), torch.tensor([5, 9]))
    torch.testing.assert_close(both, logits.log_softmax(-1))


def test_one_stop_each_changes_nothing() -> None:
    one = Stops((EOS,), (EOS,))
    tokens, ids = torch.tensor([EOS, 3]), torch.tensor([[EOS, 1], [2, 3]])
    assert not one.several
    assert one.first_of(tokens) is tokens
    assert one.swapped(ids, tokens) is ids


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_wider_head_raises_one_logit(dtype: torch.dtype, scale: float) -> None:
    source = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(5, 8, generator=source).to(dtype), torch.randn(6, 8, generator=source).to(dtype)
    gain = 30 * torch.rand(5, generator=source)
    head = Head(weight, scale=scale)
    wide, raised = with_gain(hidden, head, 2, gain, TEMPERATURE)

    def logits(h: Tensor, w: Tensor) -> Tensor:
        return h.double() @ w.double().t() * scale / TEMPERATURE

    expected = logits(hidden, weight)
    expected[:, 2] += gain
    torch.testing.assert_close(logits(wide, raised.weight), expected, rtol=1e-5, atol=1e-5)


def sibling(*, also_ours: bool) -> LanguageModel:
    """A model with the student's tokenizer whose chat ends with <user>, or with that and with <eos>."""
    tokenizer = tiny_tokenizer(STUDENT_MERGES)
    tokenizer.eos_token = "<eos>" if also_ours else "<user>"
    return tiny_model(1, tokenizer=tokenizer, vocab_size=len(tokenizer), eos_token_id=[USER])


@torch.no_grad()
@pytest.mark.parametrize("also_ours", [False, True])
@pytest.mark.parametrize("mode", ["strict", "byte_prefix", "byte_filter", "span"])
def test_one_tokenizer_that_ends_with_another_id_on_each_side(mode: str, also_ours: bool) -> None:
    """Every id is itself but the end: the student's stop is scored as the teacher's, other special tokens as before."""
    ours, theirs = model(0, STUDENT_MERGES, [EOS]), sibling(also_ours=also_ours)
    stops = [USER, EOS][: 1 + also_ours]
    assert (ours.stop_ids, theirs.stop_ids) == ({EOS}, set(stops))
    rollout = rollout_of(ours, ("the thin<eos>", "he then", "a<assistant>b<eos>"))
    found = opened(mode, theirs, ours).score(rollout, rollout.sampled_mask, Request(sampled=True))
    assert found.sampled_log_prob is not None
    assert found.scored is not None
    assert torch.equal(found.scored, rollout.sampled_mask)
    for row, mask in enumerate(rollout.sampled_mask):
        ids = rollout.tokens[row][mask].tolist()
        prompt = theirs.render(rollout.prompts.problems[row].messages)
        logits = theirs.module(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        log_probs = (logits / TEMPERATURE).log_softmax(-1)
        told = [
            log_probs[place, stops].logsumexp(0) if index == EOS else log_probs[place, index]
            for place, index in enumerate(ids)
        ]
        torch.testing.assert_close(found.sampled_log_prob[row, : len(ids)], torch.stack(told), rtol=1e-4, atol=1e-5)


def test_the_end_stands_in_the_student_s_support_by_its_own_id() -> None:
    ours = model(0, STUDENT_MERGES, [EOS])
    rollout = rollout_of(ours, ANSWERS[:1])
    given = torch.tensor([EOS, USER, 100]).expand(*rollout.tokens.shape, 3)
    found = opened("strict", sibling(also_ours=False), ours).score(
        rollout, rollout.sampled_mask, Request(support_ids=given)
    )  # fmt: skip
    assert found.support_mask is not None
    assert found.support_mask[0, 0].tolist() == [True, False, True]
