"""A teacher with another tokenizer: its scores against a plain forward pass, and against itself where it has none."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from tokenizers import normalizers
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Problem
from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.models import LanguageModel, ModelSpec, Request
from opdkit.teachers import Capabilities, OpenLocalTeacher, OpenTeacher, RetokenizedTeacher, TeacherContext
from opdkit.tokenization import (
    ByteFilter,
    BytePrefixMap,
    Spelled,
    TokenBytes,
    align,
    place,
    student_log_mass,
    token_bytes,
)
from tests.tiny import tiny_model, tiny_problems, tiny_tokenizer

TEMPERATURE = 0.8
ANSWERS = ("the thin\n\nthing <eos>", "thé 漢\ttt", "x", "he then thinks the  t")
STUDENT_MERGES = (("t", "h"), ("i", "n"), ("Ġ", "t"))
TEACHER_MERGES = (("h", "e"), ("t", "he"), ("i", "n"), ("in", "g"))


@dataclass(frozen=True)
class Held:
    """A teacher whose model is in memory already."""

    model: LanguageModel
    capabilities: Capabilities = field(default_factory=Capabilities)
    path: str = "held"

    def open(self, context: TeacherContext) -> OpenTeacher:
        return OpenLocalTeacher(self.model, context.temperature, context.batch)


def model(seed: int, merges: tuple[tuple[str, str], ...] = ()) -> LanguageModel:
    tokenizer = tiny_tokenizer(merges)
    return tiny_model(seed, tokenizer=tokenizer, vocab_size=len(tokenizer))


STUDENT = model(0, STUDENT_MERGES)
TEACHER = model(1, TEACHER_MERGES)


def rollout_of(student: LanguageModel, answers: tuple[str, ...] = ANSWERS) -> Rollout:
    problems = tiny_problems(len(answers))
    ids = [student.tokenizer.encode(text, add_special_tokens=False) for text in answers]
    prompts = [student.render(problem.messages) for problem in problems]
    return Rollout(
        Prompts(*padded(prompts, left=True), tuple(problems)),
        *padded(ids),
        -torch.rand(padded(ids)[0].shape, generator=torch.Generator().manual_seed(5)),
        torch.ones(padded(ids)[0].shape),
        ("stop",) * len(ids),
    )


def padded(rows: list[list[int]], left: bool = False) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids, mask = torch.full((len(rows), width), 256), torch.zeros((len(rows), width), dtype=torch.bool)
    for index, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids[index, where], mask[index, where] = torch.tensor(row), True
    return ids, mask


def opened(mode: Any = "strict", teacher: LanguageModel = TEACHER, student: LanguageModel = STUDENT) -> OpenTeacher:
    return RetokenizedTeacher(Held(teacher), mode).open(
        TeacherContext("cpu", student, TEMPERATURE, batch=MicroBatch(3))
    )


def tables(student: LanguageModel = STUDENT) -> tuple[TokenBytes, TokenBytes]:
    ours, theirs = (token_bytes(m.tokenizer, m.name).with_stops(sorted(m.stop_ids)) for m in (student, TEACHER))
    return ours, theirs


def by_hand(problem: Problem, answer: str) -> tuple[list[int], Tensor]:
    """The teacher's ids of an answer and its log-probs before each of them, from one plain forward pass."""
    ids = TEACHER.tokenizer.encode(answer, add_special_tokens=False)
    return ids, before_each(problem, ids)[:-1]


@torch.no_grad()
def before_each(problem: Problem, ids: list[int]) -> Tensor:
    """The teacher's log-probs before each of its ids, and behind the last."""
    prompt = TEACHER.tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in problem.messages], add_generation_prompt=True, tokenize=False
    )
    before = TEACHER.tokenizer.encode(prompt, add_special_tokens=False)
    logits = TEACHER.module(torch.tensor([before + ids])).logits[0, len(before) - 1 :]
    return (logits / TEMPERATURE).log_softmax(-1)


def test_strict_scores_one_against_one_over_the_shared_ids() -> None:
    rollout = rollout_of(STUDENT)
    asked = Request(sampled=True, top_k=5, normaliser=True, stats_k=5)
    found = opened().score(rollout, rollout.sampled_mask, asked)
    assert found.scored is not None
    assert found.support_ids is not None
    assert found.support_logits is not None
    assert found.sampled_log_prob is not None
    assert found.logsumexp is not None
    ours, theirs = tables()
    shared = {a: theirs.ids[s] for s, a in ours.ids.items() if s in theirs.ids} | {257: 257}
    back = {b: a for a, b in shared.items()}
    some = 0
    for row, answer in enumerate(ANSWERS):
        ids = rollout.tokens[row][rollout.sampled_mask[row]].tolist()
        written, log_prob = by_hand(rollout.prompts.problems[row], answer)
        pairs = align(ours.symbols(ids), theirs.symbols(written)).strict
        expected = torch.zeros(rollout.tokens.shape[1], dtype=torch.bool)
        for i, j in pairs:
            assert shared[ids[i]] == written[j]
            expected[i] = True
            best = sorted(back, key=lambda b, j=j: -log_prob[j, b].item())[:5]
            assert found.support_ids[row, i].tolist() == [back[b] for b in best]
            here = found.support_logits[row, i] - found.logsumexp[row, i]
            torch.testing.assert_close(here, log_prob[j, best], atol=1e-5, rtol=1e-4)
            assert found.sampled_log_prob[row, i].item() == pytest.approx(log_prob[j, written[j]].item(), abs=1e-4)
        assert found.scored[row].tolist() == expected.tolist()
        some += len(pairs)
    assert 20 < some < int(rollout.sampled_mask.sum())


def test_given_ids_that_the_teacher_does_not_have_are_filler() -> None:
    rollout = rollout_of(STUDENT)
    only_ours = STUDENT.tokenizer.get_vocab()["Ġt"]
    given = torch.tensor([97, only_ours, 257]).expand(*rollout.tokens.shape, 3)
    found = opened().score(rollout, rollout.sampled_mask, Request(support_ids=given))
    assert found.scored is not None
    assert found.support_mask is not None
    assert found.support_mask[found.scored].tolist() == [[True, False, True]] * int(found.scored.sum())
    joined = opened().score(rollout, rollout.sampled_mask, Request(support_ids=given, top_k=4, combine="union"))
    assert joined.support_mask is not None
    assert joined.scored is not None
    assert joined.support_mask[joined.scored].sum(-1).min() >= 4


@pytest.mark.parametrize("asked", [Request(sampled=True, top_k=4, stats_k=4), Request(sampled=True)])
def test_byte_prefix_scores_are_the_masses(asked: Request) -> None:
    rollout = rollout_of(STUDENT)
    found = opened("byte_prefix").score(rollout, rollout.sampled_mask, asked)
    assert found.scored is not None
    assert found.sampled_log_prob is not None
    ours, theirs = tables()
    prefixes = BytePrefixMap(ours, theirs, (STUDENT.vocabulary, TEACHER.vocabulary))
    for row, answer in enumerate(ANSWERS):
        ids = rollout.tokens[row][rollout.sampled_mask[row]].tolist()
        written, log_prob = by_hand(rollout.prompts.problems[row], answer)
        placements = [p for p in place(ours.symbols(ids), theirs.symbols(written)) if p is not None]
        masses = student_log_mass(prefixes, log_prob, written, ids, placements)
        sampled = masses[torch.arange(len(ids)), torch.tensor(ids)]
        assert found.scored[row, : len(ids)].tolist() == sampled.isfinite().tolist()
        has = sampled.isfinite()
        here = found.sampled_log_prob[row, : len(ids)][has]
        torch.testing.assert_close(here, sampled[has], atol=1e-4, rtol=1e-4)
        if found.support_ids is not None:
            assert found.support_logits is not None
            best = masses[:, :-1].topk(4)
            assert found.support_mask is not None
            known = best.values[has].isfinite()  # inside a token of the teacher's few of the student's go on
            logits = found.support_logits[row, : len(ids)][has]
            assert found.support_mask[row, : len(ids)][has].tolist() == known.tolist()
            torch.testing.assert_close(logits, best.values[has].masked_fill(~known, 0.0), atol=1e-4, rtol=1e-4)
            assert found.entropy is not None
            assert torch.equal(found.support_ids[row, : len(ids)][has][known], best.indices[has][known])
    assert found.scored.sum() > 0.9 * rollout.sampled_mask.sum()


def test_byte_filter_scores_ask_what_would_have_come_behind_a_shorter_token() -> None:
    student = model(0)
    rollout = rollout_of(student)
    found = opened("byte_filter", student=student).score(rollout, rollout.sampled_mask, Request(sampled=True))
    assert found.sampled_log_prob is not None
    ours, theirs = tables(student)
    prefixes = BytePrefixMap(ours, theirs, (student.vocabulary, TEACHER.vocabulary))
    asked = 0
    for row, answer in enumerate(ANSWERS):
        problem = rollout.prompts.problems[row]
        ids = rollout.tokens[row][rollout.sampled_mask[row]].tolist()
        written, log_prob = by_hand(problem, answer)
        symbols = ours.symbols(ids)
        spelled = Spelled(ids, symbols, place(symbols, theirs.symbols(written)), written)
        wanted = [
            branch for branch, share in ByteFilter(prefixes, spelled, log_prob).run().wanted.items() if share > 0.01
        ]
        branches = {(j, own): before_each(problem, [*written[:j], own])[-1] for j, own in wanted}
        masses = ByteFilter(prefixes, spelled, log_prob, branches).run().log_mass
        sampled = masses[torch.arange(len(ids)), torch.tensor(ids)]
        torch.testing.assert_close(found.sampled_log_prob[row, : len(ids)], sampled, atol=1e-4, rtol=1e-4)
        asked += len(branches)
    assert asked > 0


def test_span_scores_sum_to_the_teachers_log_prob() -> None:
    rollout = rollout_of(STUDENT)
    found = opened("span").score(rollout, rollout.sampled_mask, Request(sampled=True))
    assert found.scored is not None
    assert torch.equal(found.scored, rollout.sampled_mask)
    assert found.sampled_log_prob is not None
    for row, answer in enumerate(ANSWERS):
        written, log_prob = by_hand(rollout.prompts.problems[row], answer)
        whole = log_prob[torch.arange(len(written)), torch.tensor(written)].sum().item()
        assert found.sampled_log_prob[row].sum().item() == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("mode", ["strict", "byte_prefix", "byte_filter", "span"])
def test_one_tokenizer_for_both_gives_the_inner_teachers_numbers_bit_for_bit(mode: str) -> None:
    teacher = model(1, STUDENT_MERGES)
    rollout = rollout_of(STUDENT)
    asked = Request(sampled=True) if mode == "span" else Request(sampled=True, top_k=6, normaliser=True, stats_k=6)
    inner = OpenLocalTeacher(teacher, TEMPERATURE, MicroBatch(3)).score(rollout, rollout.sampled_mask, asked)
    found = opened(mode, teacher).score(rollout, rollout.sampled_mask, asked)
    assert found.scored is not None
    assert torch.equal(found.scored, rollout.sampled_mask)
    names = [name for name in Scores.tensors() if name != "scored" and getattr(inner, name) is not None]
    assert ("support_ids" in names) == (mode != "span")
    for name in names:
        assert torch.equal(getattr(found, name), getattr(inner, name)), name


def test_only_counted_tokens_are_scored_and_batches_change_nothing() -> None:
    rollout = rollout_of(STUDENT)
    mask = rollout.sampled_mask.clone()
    mask[:, ::2] = False
    asked = Request(sampled=True, top_k=3)
    for mode in ("strict", "byte_prefix", "byte_filter"):
        whole, part = (opened(mode).score(rollout, m, asked) for m in (rollout.sampled_mask, mask))
        assert whole.scored is not None
        assert part.scored is not None
        assert part.sampled_log_prob is not None
        assert torch.equal(part.scored, whole.scored & mask)
        torch.testing.assert_close(
            part.sampled_log_prob[part.scored], whole.sampled_log_prob[part.scored], atol=1e-5, rtol=1e-5
        )  # type: ignore[index]
        teacher = RetokenizedTeacher(Held(TEACHER), mode).open(
            TeacherContext("cpu", STUDENT, TEMPERATURE, batch=MicroBatch(1))
        )
        alone = teacher.score(rollout, mask, asked).sampled_log_prob
        torch.testing.assert_close(part.sampled_log_prob, alone, atol=1e-5, rtol=1e-5)


def test_a_response_that_the_teacher_can_not_write_is_not_scored() -> None:
    teacher = model(1, TEACHER_MERGES)
    teacher.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("q", "k")
    rollout = rollout_of(STUDENT, ("the q", "x t"))
    for mode in ("strict", "byte_prefix", "byte_filter", "span"):
        found = opened(mode, teacher).score(rollout, rollout.sampled_mask, Request(sampled=True))
        assert found.scored is not None
        assert not found.scored[0].any()
        assert found.scored[1].any()


def test_nothing_to_score_is_no_error() -> None:
    teacher = model(1, TEACHER_MERGES)
    teacher.tokenizer.backend_tokenizer.normalizer = normalizers.Replace("q", "k")
    rollout = rollout_of(STUDENT, ("q", "qq"))
    for mode in ("strict", "byte_prefix", "byte_filter", "span"):
        found = opened(mode, teacher).score(rollout, rollout.sampled_mask, Request(sampled=True))
        assert found.scored is not None
        assert not found.scored.any()


def test_what_it_refuses() -> None:
    with pytest.raises(UserError, match=r"teacher.mode='uld' is not one of strict, byte_prefix, byte_filter, span"):
        RetokenizedTeacher(Held(TEACHER), "uld")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="retokenized teacher itself"):
        RetokenizedTeacher(RetokenizedTeacher(Held(TEACHER)))
    context = TeacherContext("cpu", STUDENT, TEMPERATURE, batch=MicroBatch(2))
    served = Held(TEACHER, Capabilities(vocabulary=False))
    with pytest.raises(UserError, match=r"mode=strict needs its hidden states and lm_head, which held can't give"):
        RetokenizedTeacher(served).open(context)
    RetokenizedTeacher(served, "span").open(context)
    rollout = rollout_of(STUDENT)
    episode = replace(rollout, environment_mask=torch.zeros_like(rollout.sampled_mask))
    with pytest.raises(UserError, match="games need one of the same tokens"):
        opened().score(episode, rollout.sampled_mask, Request(sampled=True))
    lower = model(1)
    lower.tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UserError, match="the tokenizer of tiny-1 can't be aligned"):
        opened(teacher=lower)
    with pytest.raises(UserError, match=r"retokenized for all of the student's 263 ids"):
        opened().restricted(200)


def test_what_it_says_of_itself() -> None:
    teacher = RetokenizedTeacher(Held(TEACHER))
    assert teacher.path == "held"
    assert teacher.capabilities == Capabilities(vocabulary=False, text=False)
    none = dict.fromkeys(("own_top_k", "given_ids", "vocabulary", "text", "logsumexp"), False)
    assert RetokenizedTeacher(Held(TEACHER), "span").capabilities == Capabilities(**none)
    one = opened()
    assert (one.vocabulary, one.stop_ids, one.tokenizer) == (263, frozenset({257}), STUDENT.tokenizer)
    assert one.restricted(263) is one
    assert one.writer(None) is None  # type: ignore[arg-type]
    assert one.bytes() > 0
    assert one.state() == {}
    assert ModelSpec("embedded/bpe_teacher").path == "embedded/bpe_teacher"
