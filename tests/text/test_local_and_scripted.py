from __future__ import annotations

import json
from pathlib import Path

import pytest

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.text import Chat, LocalModel, SumsScript
from opdkit.text.quoting import fenced
from opdkit.text.scripted import CRITERIA, evaluate, worked_solution

PROBLEM = "Work out 3 + 4 - 5 + 9 step by step."


def test_the_embedded_teacher_answers_in_words_and_is_asked_once(tmp_path: Path) -> None:
    model = LocalModel(path="embedded/teacher", max_new_tokens=120, max_prompt_tokens=80, device="cpu")
    chats = [Chat((Message("user", text),), 5) for text in (PROBLEM, "Work out 1 - 2 + 3 - 4 step by step.", "x" * 99)]
    opened = model.open(tmp_path / "text.jsonl")
    answers = opened.complete(chats)
    assert [answer and answer.rpartition("\n")[2] for answer in answers] == ["\\boxed{11}", "\\boxed{-2}", None]
    assert opened.usage()["completion_tokens"] > 60
    assert opened.complete(chats) == answers
    assert opened.usage()["cached"] == 3
    assert "above max_prompt_tokens=80" in (tmp_path / "text.jsonl").read_text()


def test_a_local_answer_depends_on_its_seed_and_temperature_alone() -> None:
    model = LocalModel(path="embedded/student", max_new_tokens=60, device="cpu", batch_size=2).open(None)
    warm = [Chat((Message("user", PROBLEM),), seed, temperature=1.5) for seed in (1, 2, 3)]
    together = model.complete([*warm, Chat((Message("user", PROBLEM),), 9)])
    assert model.complete([warm[1]]) == [together[1]]
    assert len(set(together)) > 1


@pytest.mark.parametrize(
    ("changes", "words"), [({"device": "moon"}, "device='moon'"), ({"batch_size": 0}, "at least 1")]
)
def test_bad_settings_of_a_local_model(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        LocalModel(**({"path": "embedded/student"} | changes)).open(None)  # pyright: ignore[reportArgumentType]


def said(title: str | None, parts: dict[str, str]) -> str:
    schema = None if title is None else {"title": title}
    (answer,) = SumsScript().open(None).complete([Chat((Message("user", fenced(parts, 999)),), 0, schema)])
    assert answer is not None
    return answer


def test_the_script_writes_a_rubric_and_decides_its_criteria() -> None:
    rubric = json.loads(said("rubric", {"problem": PROBLEM}))["criteria"]
    assert [c["criterion"] for c in rubric] == list(CRITERIA)
    responses = [
        worked_solution(PROBLEM),
        "1. 3 + 4 = 8\n2. 8 - 5 = 3\n3. 3 + 9 = 12\n\\boxed{12}",
        "\\boxed{11}",
        "no idea",
        "\\boxed{1} \\boxed{11}",
    ]
    parts = {"problem": PROBLEM}
    parts |= {f"criterion {i + 1}": text for i, text in enumerate([*CRITERIA, "It is polite."])}
    parts |= {f"response {i + 1}": text for i, text in enumerate(responses)}
    rows = json.loads(said("verdicts", parts))["verdicts"]
    assert [row["response"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["passed"] for row in rows] == [
        [True, True, True, True, True, False],
        [False, False, True, True, True, False],
        [True, True, False, False, True, False],
        [False, True, False, False, False, False],
        [True, True, False, False, False, False],
    ]
    scores = json.loads(said("scores", parts))["scores"]
    assert [one["score"] for one in scores] == [10, 3, 10, 0, 10]


def test_the_script_works_sums_out_and_says_what_it_does_not_know() -> None:
    assert worked_solution(PROBLEM).endswith("1. 3 + 4 = 7\n2. 7 - 5 = 2\n3. 2 + 9 = 11\n\\boxed{11}")
    assert said(None, {"problem": PROBLEM}).endswith("\\boxed{11}")
    assert evaluate("Work out 10 - 3 - 3.") == 4
    assert evaluate("none") is None
    for title, problem in (("rubric", "Prove it."), ("poem", PROBLEM)):
        assert said(title, {"problem": problem}).startswith("I am a script")
