from __future__ import annotations

import json
from pathlib import Path

import pytest

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.rewards import JudgeReward
from opdkit.rewards.measures import agreement
from opdkit.text import Chat, SumsScript
from tests.rewards.stubs import Spoken, context, group, parts


def by_length(chat: Chat) -> str:
    responses = [text for name, text in parts(chat).items() if name.startswith("response ")]
    return json.dumps({"scores": [{"response": i + 1, "score": len(t) % 11} for i, t in enumerate(responses)]})


def test_the_reward_is_the_score_over_ten(tmp_path: Path) -> None:
    judge = Spoken(by_length)
    opened = JudgeReward(text=judge).open(context(tmp_path, teacher=None))
    grades = opened.grade([group("p", "x" * 10, "x", "xx"), group("q", "xxx", "xxx")], 0)
    assert [[g.reward for g in row] for row in grades] == [[1.0, 0.1, 0.2], [0.3, 0.3]]
    assert grades[0][0].correct is None
    metrics = opened.metrics()
    assert (metrics["no_signal"], metrics["mean"], metrics["calls"]) == (0.5, pytest.approx(0.38), 2)
    assert "agreement" not in metrics
    assert judge.records == [tmp_path / "judge.jsonl"]
    opened.close()
    assert judge.closed == 1


def test_teacher_answers_stand_in_the_same_blind_pool() -> None:
    judge = Spoken(by_length)
    opened = JudgeReward(text=judge, teacher_answers=2).open(context())
    (grades,) = opened.grade([group("p", "x" * 4, "x" * 5)], 0)
    assert [g.reward for g in grades] == [0.4, 0.5]
    assert len([name for name in parts(judge.chats[0]) if name.startswith("response")]) == 4
    assert "teacher" not in judge.chats[0].messages[1].content.lower()
    assert opened.metrics()["teacher_mean"] == pytest.approx(0.3)


@pytest.mark.parametrize("answer", [None, "8 points", '{"scores": [{"response": 1, "score": 11}]}', "x" * 10**6])
def test_a_failed_judge_leaves_its_group_without_a_reward(answer: str | None) -> None:
    opened = JudgeReward(text=Spoken(lambda chat: answer), attempts=3).open(context())
    (grades,) = opened.grade([group("p", "a", "b")], 0)
    assert [(g.reward, g.counts, g.status) for g in grades] == [(0.0, False, "failed_judge")] * 2
    assert opened.metrics()["failed_groups"] == 1
    assert "mean" not in opened.metrics()
    assert sum(value for name, value in opened.metrics().items() if name.startswith("unread_")) == 3


def test_the_script_for_sums_judges() -> None:
    opened = JudgeReward(text=SumsScript()).open(context(grade=lambda pairs: [Grade.of("{6}" in t) for t, _ in pairs]))
    (grades,) = opened.grade([group("Work out 1 + 2 + 3.", "\\boxed{6}", "1 + 2 = 3\n3 + 3 = 5\n\\boxed{5}", "")], 0)
    assert [g.reward for g in grades] == [1.0, 0.2, 0.0]
    assert opened.metrics()["agreement"] == 1.0


def test_bad_settings() -> None:
    with pytest.raises(UserError, match="no text model is chosen"):
        JudgeReward(text=None)
    with pytest.raises(UserError, match="teacher_answers=-1"):
        JudgeReward(text=SumsScript(), teacher_answers=-1)
    with pytest.raises(UserError, match="the run's teacher can't write"):
        JudgeReward(text=SumsScript(), teacher_answers=1).open(context(teacher=None))


def test_agreement_counts_pairs_of_a_right_and_a_wrong_response() -> None:
    def grades(*pairs: tuple[float, bool | None]) -> list[Grade]:
        return [Grade(reward, correct) for reward, correct in pairs]

    assert agreement([grades((1, True), (0, False), (1, False))]) == 0.75
    assert agreement([grades((0, True), (1, False)), grades((1, True), (0, False), (0, False))]) == pytest.approx(2 / 3)
    assert agreement([grades((1, True), (0, None))]) is None
    assert agreement([[Grade(0, True, counts=False), Grade(0, False, counts=False)]]) is None
