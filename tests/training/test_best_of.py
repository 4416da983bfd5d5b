"""BRTS's choice on hand-made candidates in every tier, both alignments by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from accelerate import Accelerator

from opdkit.data.grade import Grade
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Problem
from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import Ask, Completion, Sampling, Turn, pack
from opdkit.masking import NoMask
from opdkit.models import LanguageModel
from opdkit.objectives import TokenDivergence, TokenMean
from opdkit.rewards import TaskReward
from opdkit.teachers import LocalTeacher
from opdkit.training.best_of import BestOf, Candidate, choose, share_among
from opdkit.training.candidates import CandidateWriter
from opdkit.training.optimizer import AdamW
from opdkit.training.policy import Policy
from opdkit.training.term import Method, RunChoices, Term, bind_terms
from tests.tiny import rendered, tiny_model, tiny_problems


def one(right: bool, alignment: float) -> Candidate:
    return Candidate(Completion((1,), None, None, "stop"), right, alignment)


WRITTEN = [one(False, 0.9), one(True, 0.2), one(True, 0.6), one(True, 0.6)]


@pytest.mark.parametrize(
    ("written", "hinted", "tier", "expected"),
    [
        (WRITTEN, one(True, 0.0), 1, WRITTEN[2]),  # the right one that is best aligned, of equals the first
        (WRITTEN[:2], None, 1, WRITTEN[1]),
        (WRITTEN[:1], HINTED := one(True, 0.0), 2, HINTED),
        (FAILED := [one(False, 0.1), one(False, 0.4)], one(False, 1.0), 3, FAILED[1]),
        (FAILED, None, 3, FAILED[1]),
    ],
)
def test_the_tiers(written: list[Candidate], hinted: Candidate | None, tier: int, expected: Candidate) -> None:
    found = choose(written, hinted)
    assert found.tier == tier
    assert found.candidate is expected


def test_the_share_among_best_ids() -> None:
    best = torch.tensor([[1, 2], [3, 4], [5, 6]])
    assert share_among(torch.tensor([2, 3, 7]), best) == pytest.approx(2 / 3)
    assert share_among(torch.tensor([2]), best) == 1.0
    assert share_among(torch.tensor([9, 3, 6, 1, 1]), best) == pytest.approx(2 / 3)  # where both have a token
    assert share_among(torch.tensor([], dtype=torch.long), best) == 0.0


@dataclass
class Script:
    """An engine that writes what it is told, in order, and keeps what it was asked."""

    texts: list[str]
    model: LanguageModel
    asked: list[Ask] = field(default_factory=list)

    def generate(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        assert sampling.temperature == 0.7
        self.asked += asks
        written = [self.model.tokenizer.encode(self.texts.pop(0), add_special_tokens=False) for _ in asks]
        return [Completion((*ids, 257), None, None, "stop") for ids in written]

    def refresh(self, model: LanguageModel, version: int) -> None: ...

    def close(self) -> None: ...


def grade(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
    return [Grade.of(response.endswith(reference)) for response, reference in pairs]


def writer(texts: Sequence[str], limit: int = 200, **changes: object) -> tuple[CandidateWriter, Script]:
    model = tiny_model(0)
    policy = Policy.of(model, AdamW(lr=1e-2), Accelerator(cpu=True), 1.0)
    spec = BestOf(**{"count": 2, "k": 8, "hint": "{question} {answer}", **changes})  # pyright: ignore
    script = Script(list(texts), model)
    return CandidateWriter(spec, script, policy, grade, 0, MicroBatch(4), limit, 16), script


def asked(model: LanguageModel) -> list[tuple[Problem, list[int]]]:
    return rendered(model, tiny_problems(3))


TEXTS = ["a0", "bb0", "cc", "d", "ee", "f", "told 1", "told no"]
"""Two to each of three prompts with answers 0, 1 and 2, and one hinted to each of the two that failed."""


def best_of_student(model: LanguageModel, prompt: Sequence[int], ids: Sequence[int]) -> list[set[int]]:
    """By hand: the student's 8 best ids at each place of a response."""
    with torch.no_grad():
        logits = model.module(torch.tensor([[*prompt, *ids]])).logits[0, :, : model.vocabulary]
    return [set(logits[len(prompt) + place - 1].topk(8).indices.tolist()) for place in range(len(ids))]


def test_every_tier_through_the_writer_and_alignment_by_hand() -> None:
    choosing, script = writer(TEXTS)
    model = choosing.policy.model
    prompts = asked(model)
    found = choosing(0, prompts, None)
    texts = [model.decode(list(c.ids)) for c in found.completions]
    assert texts[1] == "told 1"  # tier 2
    shares = {}
    for text, (_, prompt) in zip(TEXTS[:6], [p for p in prompts for _ in range(2)], strict=True):
        ids = [*model.tokenizer.encode(text, add_special_tokens=False), 257]
        places = best_of_student(model, prompt, ids)
        shares[text] = sum(i in best for i, best in zip(ids, places, strict=True)) / len(ids)
    assert texts[0] == max(["a0", "bb0"], key=lambda t: shares[t])  # tier 1
    assert texts[2] == max(["ee", "f"], key=lambda t: shares[t])  # tier 3
    metrics = found.metrics
    assert [metrics[f"best_of/tier_{tier}"] for tier in (1, 2, 3)] == pytest.approx([1 / 3] * 3)
    assert metrics["best_of/right"] == pytest.approx(2 / 6)
    assert metrics["best_of/hinted"] == pytest.approx(2 / 3)
    assert metrics["best_of/alignment_mean"] == pytest.approx(sum(shares.values()) / 6)
    assert metrics["best_of/alignment_chosen"] == pytest.approx((shares[texts[0]] + shares[texts[2]]) / 2)
    hints = [model.decode(list(ask.prompt_ids)) for ask in script.asked[6:]]
    assert ["1" in text for text in hints] == [True, False]
    assert len({ask.seed for ask in script.asked}) == len(script.asked)


def test_without_a_hint_a_failed_prompt_is_tier_3() -> None:
    for choosing, script in (writer(TEXTS[:6], hint=None), writer(TEXTS[:6], limit=3)):
        metrics = choosing(0, asked(choosing.policy.model), None).metrics
        assert metrics["best_of/tier_3"] == pytest.approx(2 / 3)
        assert metrics["best_of/hinted"] == 0
        assert not script.texts


def test_positional_alignment_is_that_of_the_students_own_rollouts() -> None:
    choosing, _ = writer(TEXTS, alignment="positional")
    model = choosing.policy.model
    prompts = asked(model)
    own_ids = [[100 + i, 101, 257] for i in range(6)]  # two to each prompt
    problems = [p for p in prompts for _ in range(2)]
    rows = [
        (Turn(tuple(p), Completion(tuple(ids), None, None, "stop")),)
        for (_, p), ids in zip(problems, own_ids, strict=True)
    ]
    own: Rollout = pack(model, rows, [p for p, _ in problems])
    found = choosing(0, prompts, own)
    shares: list[float] = []
    for index, text in enumerate(TEXTS[:6]):
        ids = [*model.tokenizer.encode(text, add_special_tokens=False), 257]
        each = []
        for sibling in (2 * (index // 2), 2 * (index // 2) + 1):
            places = best_of_student(model, problems[sibling][1], own_ids[sibling])
            length = min(len(ids), 3)
            each.append(
                sum(i in best for i, best in zip(ids, places, strict=False)) / length
            )  # up to the shorter one's end
        shares.append(sum(each) / 2)
    assert found.metrics["best_of/alignment_mean"] == pytest.approx(sum(shares) / 6)
    texts = [model.decode(list(c.ids)) for c in found.completions]
    assert texts[0] == (TEXTS[0] if shares[0] >= shares[1] else TEXTS[1])


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"k": 0}, {"alignment": "loose"}, {"hint": "{answer}"}, {"temperature": 0.0}, {"top_p": 1.5}],
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=rf"^{name}="):
        BestOf(**wrong)  # pyright: ignore[reportArgumentType]


def test_only_a_teacher_is_chosen_from() -> None:
    with pytest.raises(UserError, match="author=student"):
        Term(author="student", selection=BestOf())


def test_positional_needs_the_students_rollouts() -> None:
    objective = TokenDivergence(k=4, tail="renormalise")
    run = RunChoices(objective, LocalTeacher("somewhere"), TaskReward(), NoMask(), TokenMean())
    chosen = Term(author="teacher", selection=BestOf(alignment="positional"))
    assert bind_terms(Method({"student": Term(), "teacher": chosen}), run)[1].selection == chosen.selection
    for method in (
        Method({"teacher": chosen}),
        Method({"student": Term(every=2), "teacher": chosen}),
        Method({"student": Term(), "teacher": chosen}, share=0.5),
    ):
        with pytest.raises(UserError, match=r"terms\.teacher\.selection\.alignment=positional"):
            bind_terms(method, run)
