from __future__ import annotations

import dataclasses
import itertools
import json

import pytest

from opdkit.errors import UserError
from opdkit.tasks import ReasoningGym
from opdkit.tasks.procedural import is_held_out

SUMS = ReasoningGym(
    dataset="chain_sum",
    parameters={"min_terms": 4, "max_terms": 7, "min_digits": 1, "max_digits": 1},
    size=300,
    split_by="expression",
    template="Work out {expression} step by step.",
    scorer="answers",
)
TEST = dataclasses.replace(SUMS, split="test")


def expression(content: str) -> str:
    return content.removeprefix("Work out ").removesuffix(" step by step.")


def value(text: str) -> int:
    first, *rest = text.split()
    return int(first) + sum(int(sign + term) for sign, term in zip(rest[::2], rest[1::2], strict=True))


@pytest.mark.parametrize("source", [SUMS, TEST])
def test_problems_are_the_sums_they_say(source: ReasoningGym) -> None:
    problems = source.load()
    assert len(problems) == 300
    for problem in problems:
        text = expression(problem.messages[0].content)
        assert 4 <= len(text.split()[::2]) <= 7
        assert value(text) == int(problem.reference)
        assert is_held_out(text) == (source.split == "test")
    assert len({problem.identifier for problem in problems}) == 300


def test_problems_repeat_and_depend_on_the_seed() -> None:
    again = dataclasses.replace(SUMS)
    assert list(again.load()[:20]) == list(SUMS.load()[:20])
    other = dataclasses.replace(SUMS, seed=1).load()
    ours, theirs = ({problem.messages for problem in problems} for problems in (SUMS.load(), other))
    assert len(ours & theirs) < 10


def test_no_training_question_is_a_test_question_under_any_seed() -> None:
    train = {p.messages for seed in range(3) for p in dataclasses.replace(SUMS, seed=seed, size=1000).load()}
    test = {p.messages for seed in range(3) for p in dataclasses.replace(TEST, seed=seed, size=200).load()}
    assert len(train) > 2900
    assert len(test) > 590
    assert not train & test


def test_problems_index_like_a_list() -> None:
    problems = SUMS.load()
    assert problems[-1] == problems[299]
    assert [problem.identifier for problem in problems[2:4]] == ["chain_sum/train/0/2", "chain_sum/train/0/3"]
    with pytest.raises(IndexError):
        problems[300]


def test_a_size_beyond_memory_costs_nothing_until_looked_at() -> None:
    assert len(dataclasses.replace(SUMS, size=10_000_000).load()) == 10_000_000


def test_answers_are_graded_as_numbers() -> None:
    grades = SUMS.grade([("\\boxed{7}", "7"), ("\\boxed{8}", "7"), ("7", "7")])
    assert [(grade.correct, grade.status) for grade in grades] == [
        (True, "ok"),
        (False, "ok"),
        (False, "no_answer"),
    ]


def test_a_puzzle_with_several_solutions_is_scored_by_its_data_set() -> None:
    source = ReasoningGym(dataset="countdown", size=3, split="test")
    problem = source.load()[0]
    gold = json.loads(problem.reference)["answer"]
    responses = [gold, f"({gold})", f"{gold} + 1", "9**9**9**9", "__import__('os')", "1"]
    grades = source.grade([(f"\\boxed{{{response}}}", problem.reference) for response in responses])
    assert [grade.correct for grade in grades] == [True, True, False, False, False, False]
    assert source.grade([("no idea", problem.reference)])[0].status == "no_answer"


def test_a_puzzle_without_an_answer_of_its_own_is_judged_by_its_scorer_alone() -> None:
    source = ReasoningGym(dataset="graph_color", parameters={"num_colors": 3}, size=2, split="test")
    problem = source.load()[0]
    gold = json.loads(problem.reference)
    assert gold["answer"] is None
    fields, _ = source.load().draw(gold["draw"], gold["index"])  # pyright: ignore[reportAttributeAccessIssue]
    puzzle = fields["puzzle"]
    drawn = itertools.product(puzzle["color_options"], repeat=len(puzzle["vertices"]))
    colourings = (dict(zip(puzzle["vertices"], colours, strict=True)) for colours in drawn)
    colours = next(found for found in colourings if all(found[a] != found[b] for a, b in puzzle["edges"]))
    responses = [json.dumps({str(vertex): colour for vertex, colour in colours.items()}), "None", "null", "{}"]
    grades = source.grade([(f"\\boxed{{{response}}}", problem.reference) for response in responses])
    assert [grade.correct for grade in grades] == [True, False, False, False]
    with pytest.raises(UserError, match="gives no answers of its own; allowed: scorer=dataset"):
        dataclasses.replace(source, scorer="answers").load()


def test_an_entry_whose_answer_is_empty_is_drawn_again() -> None:
    problems = ReasoningGym(dataset="ab", size=60).load()
    assert all(json.loads(problem.reference)["answer"] for problem in problems)


def test_a_long_answer_is_scored() -> None:
    source = ReasoningGym(dataset="palindrome_partitioning", size=12)
    problem = max(source.load(), key=lambda problem: len(problem.reference))
    answer = json.loads(problem.reference)["answer"]
    assert len(answer) > 2000
    assert source.grade([(f"\\boxed{{{answer}}}", problem.reference)])[0].correct
    assert not source.grade([(f"\\boxed{{{answer[:-3]}}}", problem.reference)])[0].correct


@pytest.mark.slow
def test_every_set_accepts_its_own_answers() -> None:
    from reasoning_gym.factory import DATASETS

    refused = {}
    for name in set(DATASETS) - {"composite"}:
        problems = list(ReasoningGym(dataset=name, size=3).load())
        golds = [json.loads(problem.reference)["answer"] for problem in problems]
        pairs = [(f"so \\boxed{{{gold}}}", problem.reference) for gold, problem in zip(golds, problems, strict=True)]
        grades = ReasoningGym(dataset=name, size=3).grade(pairs)
        refused[name] = sum(not grade.correct for grade in grades)
    without = {"boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour"}
    assert {name for name, count in refused.items() if count} == without


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "chain_sums"}, "did you mean chain_sum"),
        ({"parameters": {"min_term": 2}}, "did you mean min_terms"),
        ({"parameters": {"min_terms": 5, "max_terms": 2}}, "max_terms must be >= min_terms"),
        ({"template": "Work it out."}, "no field"),
        ({"template": "{expresion}"}, r"did you mean \{expression\}"),
        ({"template": "{expression} = {answer}"}, r"asks for \{answer\}"),
        ({"split": "validation"}, "allowed: train, test"),
        ({"split_by": "text"}, "is no field"),
        ({"scorer": "exact"}, "allowed: answers, dataset"),
        ({"size": 0}, "size=0"),
    ],
)
def test_bad_settings_are_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        dataclasses.replace(SUMS, **changes).load()  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)


def test_a_space_without_test_questions_is_told() -> None:
    tiny = ReasoningGym(
        dataset="chain_sum",
        parameters={"min_terms": 1, "max_terms": 1, "min_digits": 1, "max_digits": 1},
        size=5,
        split="test",
        split_by="num_terms",
    )
    with pytest.raises(UserError, match=r"parameters=\{.*\}: no test question was found"):
        tiny.load()[0]
