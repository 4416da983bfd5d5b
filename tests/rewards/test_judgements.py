from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.rewards.judgements import (
    Criterion,
    JudgeError,
    read_rubric,
    read_scores,
    read_verdicts,
    rubric_schema,
    scores_schema,
    verdicts_schema,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROW = {"criterion": "it holds", "weight": 3}


def rubric_of(*rows: object) -> str:
    return json.dumps({"criteria": list(rows)})


def rows(count: int) -> list[dict[str, Any]]:
    return [{"criterion": f"point {i}", "weight": i % 5 + 1} for i in range(count)]


@given(st.integers(4, 12))
def test_a_rubric_is_read_as_it_was_written(count: int) -> None:
    read = read_rubric(rubric_of(*rows(count)))
    assert read == tuple(Criterion(row["criterion"], row["weight"]) for row in rows(count))


@pytest.mark.parametrize("dress", ["{}", " \n{}\n", "<think>[1] </think>\n{}", "```json\n{}\n```", "```\n{}\n```"])
def test_reasoning_and_one_code_fence_around_the_answer_are_taken_off(dress: str) -> None:
    assert len(read_rubric(dress.replace("{}", rubric_of(*rows(4))))) == 4


GOOD = rubric_of(*rows(5))
BAD_RUBRICS: list[tuple[str | None, str]] = [
    (None, "no_answer"),
    ("", "not_json"),
    ("I would say that the answers are all fine.", "not_json"),
    (GOOD[:-20], "not_json"),
    (GOOD + GOOD, "not_json"),
    (f"Here it is: {GOOD}", "not_json"),
    (f"```json\n{GOOD}\n``` I hope that helps", "not_json"),
    (f"<think>{GOOD}", "not_json"),
    (GOOD.replace('"weight": 1', '"weight": NaN'), "not_json"),
    (GOOD.replace('"weight": 1', '"weight": 1, "weight": 5'), "not_json"),
    ("[" * 50_000, "not_json"),
    ('{"criteria": ' + "9" * 9_000 + "}", "not_json"),
    ("x" * 1_000_000, "too_long"),
    (json.dumps({"criteria": rows(5)}) + " " * 1_000_000, "too_long"),
    (rubric_of(*rows(3)), "wrong_form"),
    (rubric_of(*rows(13)), "wrong_form"),
    (json.dumps(rows(5)), "wrong_form"),
    (json.dumps({"criteria": rows(5), "score": 10}), "wrong_form"),
    (json.dumps({"rubric": rows(5)}), "wrong_form"),
    (json.dumps({"criteria": "all good"}), "wrong_form"),
    (rubric_of(*rows(4), "more"), "wrong_form"),
    (rubric_of(*rows(4), {"criterion": "x"}), "wrong_form"),
    (rubric_of(*rows(4), {**ROW, "why": "so"}), "wrong_form"),
    *[(rubric_of(*rows(4), {**ROW, "weight": w}), "wrong_form") for w in (0, 6, 2.0, 2.5, "3", True, None, [3])],
    *[(rubric_of(*rows(4), {**ROW, "criterion": c}), "wrong_form") for c in ("", "  ", 7, None, "x" * 1001)],
    (rubric_of(*rows(4), {"criterion": " Point  0", "weight": 2}), "wrong_form"),
]


@pytest.mark.parametrize(("answer", "reason"), BAD_RUBRICS)
def test_a_rubric_of_another_form_is_refused(answer: str | None, reason: str) -> None:
    with pytest.raises(JudgeError) as caught:
        read_rubric(answer)
    assert caught.value.reason == reason


def verdicts(*rows: tuple[object, object]) -> str:
    return json.dumps({"verdicts": [{"response": number, "passed": passed} for number, passed in rows]})


def test_verdicts_are_put_in_the_order_of_their_numbers() -> None:
    assert read_verdicts(verdicts((2, [False, True]), (1, [True, True])), 2, 2) == [[True, True], [False, True]]


@pytest.mark.parametrize(
    "answer",
    [
        verdicts((1, [True, True])),
        verdicts((1, [True, True]), (1, [True, True])),
        verdicts((0, [True, True]), (1, [True, True])),
        verdicts((1, [True, True]), (2, [True, True]), (3, [True, True])),
        verdicts((1, [True]), (2, [True, True])),
        verdicts((1, [True, True, True]), (2, [True, True])),
        verdicts((1, [1, 0]), (2, [True, True])),
        verdicts((1, ["true", "true"]), (2, [True, True])),
        verdicts((1, [None, True]), (2, [True, True])),
        verdicts((1, "yes"), (2, [True, True])),
        verdicts((True, [True, True]), (2, [True, True])),
        verdicts((1.0, [True, True]), (2, [True, True])),
        verdicts(("1", [True, True]), (2, [True, True])),
        json.dumps({"verdicts": {"1": [True, True], "2": [True, True]}}),
        json.dumps({"verdicts": [{"response": 1, "passed": [True, True], "score": 9}] * 2}),
    ],
)
def test_verdicts_of_another_form_are_refused(answer: str) -> None:
    with pytest.raises(JudgeError, match="wrong_form"):
        read_verdicts(answer, 2, 2)


def scores(*rows: tuple[object, object]) -> str:
    return json.dumps({"scores": [{"response": number, "score": score} for number, score in rows]})


def test_scores() -> None:
    assert read_scores(scores((2, 0), (1, 10)), 2) == [10, 0]
    for bad in (-1, 11, 3.5, "7", True, None, 10**400):
        with pytest.raises(JudgeError):
            read_scores(scores((1, bad), (2, 3)), 2)


READERS: list[Callable[[str | None], object]] = [
    read_rubric,
    lambda answer: read_verdicts(answer, 3, 4),
    lambda answer: read_scores(answer, 3),
]


@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps({"criteria": value, "verdicts": value})))
def test_whatever_a_judge_says_is_read_or_refused(answer: str) -> None:
    for read in READERS:
        with contextlib.suppress(JudgeError):
            read(answer)


def changed(value: Any, place: int, other: Any) -> tuple[Any, int]:
    """The value with its place-th inner part (in depth-first order) replaced."""
    if place == 0:
        return other, -1
    place -= 1
    if isinstance(value, dict | list):
        pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        made = type(value)(value)
        for key, inner in pairs:
            if place >= 0:
                made[key], place = changed(inner, place, other)
        return made, place
    return value, place


@given(st.integers(0, 40), JSON)
def test_a_rubric_with_one_part_replaced_is_well_formed_or_refused(place: int, other: Any) -> None:
    answer, _ = changed({"criteria": rows(5)}, place, other)
    try:
        read = read_rubric(json.dumps(answer))
    except JudgeError:
        return
    assert 4 <= len(read) <= 12
    assert all(type(one.weight) is int and 1 <= one.weight <= 5 and one.text.strip() for one in read)


@given(st.integers(0, 30), JSON)
def test_verdicts_with_one_part_replaced_are_booleans_or_refused(place: int, other: Any) -> None:
    whole = {"verdicts": [{"response": i, "passed": [True, False]} for i in (1, 2, 3)]}
    answer, _ = changed(whole, place, other)
    try:
        read = read_verdicts(json.dumps(answer), 3, 2)
    except JudgeError:
        return
    assert [len(row) for row in read] == [2, 2, 2]
    assert all(type(value) is bool for row in read for value in row)


def test_schemas_ask_for_what_is_read() -> None:
    for schema, name in (
        (rubric_schema(), "criteria"),
        (verdicts_schema(3, 4), "verdicts"),
        (scores_schema(3), "scores"),
    ):
        assert schema["additionalProperties"] is False
        assert schema["required"] == [name]
        listed: Any = schema["properties"]
        row = listed[name]["items"]
        assert (row["additionalProperties"], sorted(row["required"])) == (False, sorted(row["properties"]))
    sizes: Any = verdicts_schema(3, 4)
    inner = sizes["properties"]["verdicts"]
    assert (inner["minItems"], inner["maxItems"]) == (3, 3)
    assert inner["items"]["properties"]["passed"]["maxItems"] == 4
