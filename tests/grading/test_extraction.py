from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.grading.extraction import extract_answer, first_answer_end

ANSWERS = [
    (r"so it is \boxed{\frac{1}{2}}, done", r"\frac{1}{2}"),
    (r"\boxed{1} and then \boxed{2}", "2"),
    (r"\boxed{5}. I put it in \boxed{}.", "5"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
    (r"\boxed{a_{b_{c}}} text }", "a_{b_{c}}"),
    (r"\boxed 7.", "7"),
    (r"\fbox{8}", "8"),
    (r"$\boxed{9}$", "9"),
    (r"\boxed{\boxed{4}}", "4"),
    ("<think>maybe \\boxed{3}</think>The answer is 4.", "4"),
    ("<think>it is \\boxed{3}</think>Done.", "3"),
    ("12 * 2 = 24\n#### 24", "24"),
    ("#### 1,234\n", "1,234"),
    ("#### x^2 + 1", "x^2 + 1"),
    ("The answer is 5.\n#### 2. Check the result", "5"),
    ("The answer is 5.\n#### Conclusion", "5"),
    ("The answer is $18.", "$18"),
    ("The answer is 3.5.", "3.5"),
    ("The answer is $\\frac{1}{2}$. I hope it is right.", r"\frac{1}{2}"),
    ("The answer is $\\$5$.", r"\$5"),
    ("The answer is $5 and not $6.", "$5 and not $6"),
    ("The final answer is: \\(7\\)", "7"),
    ("**Final Answer:** 42", "42"),
    ("Answer: x = 5", "x = 5"),
    ("answer = 6", "6"),
    ("The answer is:\n\n12", "12"),
    ("The answer is 18 because she sells them.", "18"),
    ("The answer is 3, so we stop.", "3"),
    ("The answer is 3, 4 and 5.", "3, 4 and 5"),
    ("I thought the answer is 1. But the answer is 2.", "2"),
    ("答案是5。", "5"),
]
NONE = [
    "",
    "   ",
    "no idea",
    "it is 5",
    "1 + 1 = 2",
    r"\boxed{",
    r"\boxed{5",
    r"\boxed",
    r"\boxed{5} or \boxed{6",
    r"\boxed{}",
]


@pytest.mark.parametrize(("response", "expected"), ANSWERS)
def test_answer_is_read_as_written(response: str, expected: str) -> None:
    assert extract_answer(response) == expected


@pytest.mark.parametrize("response", NONE)
def test_no_answer_where_none_is_given(response: str) -> None:
    assert extract_answer(response) is None


@given(st.text())
def test_any_text_is_read_without_an_error(text: str) -> None:
    extract_answer(text)
    extract_answer(f"\\boxed{{{text}")
    extract_answer(f"the answer is {text}")


@given(st.text(alphabet="abc12{}\\ ", min_size=1))
def test_a_balanced_box_is_read_whole(text: str) -> None:
    inside = text.replace("\\", "").replace("{", "").replace("}", "").strip()
    expected = f"{{{inside}}} + 1"
    assert extract_answer(f"x \\boxed{{{expected}}} y") == expected


def test_a_megabyte_is_read_in_linear_time() -> None:
    for text in ("[" * 1_000_000, "\\boxed{" * 140_000, "\\boxed{}" * 120_000, "{" * 1_000_000, "answer: " * 120_000):
        extract_answer(text)
        extract_answer("\\boxed{" + text)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("so \\boxed{1} and \\boxed{2}", "so \\boxed{1}"),
        ("put it in \\boxed{}: \\boxed{\\frac{1}{2}} done", "put it in \\boxed{}: \\boxed{\\frac{1}{2}}"),
        ("<think>\\boxed{3}</think>it is \\boxed{4}.", "<think>\\boxed{3}</think>it is \\boxed{4}"),
        ("work\n#### 24\nmore\n#### 25", "work\n#### 24"),
        ("The answer is 5. And so on\nmore", "The answer is 5. And so on"),
        ("\\boxed{never closed", None),
        ("\\boxed", None),
        ("no answer here", None),
        ("The answer is:\n\n", None),
    ],
)
def test_the_first_answer_ends(text: str, end: str | None) -> None:
    assert first_answer_end(text) == (None if end is None else len(end))


@given(st.text(alphabet=r"\boxed{} #answeris:1</think>", max_size=80))
def test_the_first_answer_lies_within_the_text(text: str) -> None:
    end = first_answer_end(text)
    assert end is None or 0 < end <= len(text)
    if first_answer_end(text) is None and "</think>" not in text and "\\boxed" not in text:
        assert extract_answer(text) is None


def test_many_open_boxes_take_no_time() -> None:
    assert first_answer_end("\\boxed{" * 100_000) is None
