"""Reading untrusted text takes time in proportion to its length."""

from __future__ import annotations

import time

import pytest

from opdkit.grading.comparison import at_once, compare
from opdkit.grading.extraction import extract_answer, first_answer_end
from opdkit.grading.grade import RESPONSE_LIMIT
from opdkit.grading.limits import ANSWER_LIMIT
from opdkit.grading.normal_form import normal_form, tidy

RUNS = [
    " ", "\n", "\t", " \n", "{", "}", "{}", "$", "$ $", "\\", "\\ ", "\\(", "\\[", "#", "####", "#### ", "\\boxed{",
    "\\boxed", "\\boxed{}", "\\boxed{ ", "\\boxed{1}", "\\boxed{1},", "\\boxed{1} and ", "x=\\boxed{1}$, ", "\\fbox ",
    "<think>", "</think>", "<think></think>", "<|im_end|>", "<|", "<|im_end|>\n", "</s>", "</s> ", "<s>", "[INST]",
    "<\uff5c", "<|channel|>final<|message|>", "answer", "answer ", "answer\t", "answer is ", "final ", "final\t",
    "the answer is $", "correct answer: ", ".", ". ", ",", ", ", "because ", ", because", "1", "1,", "1, ", "(", "[",
    "\\frac", "\\frac{1}{", "\\text{", "\\text{a}", "^", "_", "=", "a=", "\u221a", "\u00b2", "\ufdfa", "-", "*", "**",
    "\\left", "\\!", "\\,", "0.3", "\\overline{", "sqrt(", "x ", "and ", "\\pm", "<", "\\le ", "!", "|", "\\sin ",
    "\\boxed{1}\n- ", "\\boxed{1}\n2. ", "\\boxed{1}\\\\", "\n- ", "x=1, y=2 or ", "(C) ", "\\text{answer: ",
]  # fmt: skip
FRAMES = ["%s", "The answer%sz", "\\boxed{7}%s", "\\boxed{%s}", "<think>%s"]
LIMIT_SECONDS = 1.5  # linear work on half a million characters takes .1 to .3 s; the least quadratic one, hours


@pytest.mark.parametrize("run", RUNS)
def test_half_a_million_characters_are_read_in_linear_time(run: str) -> None:
    for frame in FRAMES:
        text = frame % (run * (RESPONSE_LIMIT // len(run)))
        text = text[:RESPONSE_LIMIT]
        started = time.process_time()
        extract_answer(text)
        first_answer_end(text)
        assert time.process_time() - started < LIMIT_SECONDS, frame


@pytest.mark.parametrize("run", RUNS)
def test_an_answer_of_any_kind_is_read_in_linear_time(run: str) -> None:
    for frame in ("%s", "%s7", "7%s", "a%sb", "{%s}"):
        answers = [frame % (run * (size // len(run))) for size in (900, 1900, 4000)]
        started = time.process_time()
        for answer in answers:
            tidied = tidy(answer)
            normal_form(answer)
            for reference in ("5", "x+1, y", answer[:-1]):
                compare(tidied[:ANSWER_LIMIT], tidy(reference), at_once)
        assert time.process_time() - started < LIMIT_SECONDS, frame
