"""One prompt in two templates, and the first character at which they part."""

from __future__ import annotations

import pytest

from opdkit.data.problem import Message
from opdkit.doctor.templates import first_difference, templates
from tests.doctor.tokenizers import TEMPLATE, WHOLE_WORD, bpe, pair, told

PROMPT = [Message("user", "What is 1 + 1?")]


@pytest.mark.parametrize(("one", "other", "place"), [("abc", "abd", 2), ("ab", "abc", 2), ("", "", 0), ("x", "y", 0)])
def test_first_difference(one: str, other: str, place: int) -> None:
    assert first_difference(one, other) == place


def test_alike() -> None:
    section = templates(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD)), PROMPT)
    assert told(section) == [("ok", "both render the prompt identically")]
    assert section.sides == (("both", "<|im_start|>user\nWhat is 1 + 1?<|im_end|><|im_start|>"),)


def test_the_first_difference_is_shown_within_its_surroundings() -> None:
    other = TEMPLATE.replace("<|im_start|>{{ m['role'] }}", "<|im_start|>system\nBe kind.{{ m['role'] }}", 1)
    section = templates(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD, template=other)), PROMPT)
    level, text = told(section)[0]
    assert level == "warning"
    assert "from character 13: 'user\\nWhat" in text
    assert "'system\\nBe kind." in text
    assert [title for title, _ in section.sides] == ["student", "teacher"]
    late = [Message("user", "x" * 500)]
    shown = templates(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD, template=TEMPLATE + "!")), late).sides[1][1]
    assert shown.startswith("…x")
    assert shown.endswith("!")
    assert len(shown) < 310


def test_a_turn_that_ends_with_no_stop_token() -> None:
    ended = TEMPLATE.replace("<|im_end|>", "<|endoftext|>")
    found = told(templates(pair(bpe(WHOLE_WORD, template=ended), bpe(WHOLE_WORD, template=ended)), PROMPT))
    assert found == [
        ("ok", "both render the prompt identically"),
        ("warning", "the student's template ends an answer with '<|endoftext|>', which is not a stop token"),
        ("ok", "the teacher's template ends an answer with '<|endoftext|>', which is not a stop token"),
    ]


def test_without_a_template_and_with_one_that_refuses() -> None:
    found = told(templates(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD, template=None)), PROMPT))
    assert ("warning", "the teacher has no chat template: prompts are plain text") in found
    refusing = "{{ raise_exception('no system message') }}"
    section = templates(pair(bpe(WHOLE_WORD, template=refusing), bpe(WHOLE_WORD)), PROMPT)
    assert told(section)[0][0] == "stop"
    assert "no system message" in told(section)[0][1]
    assert section.sides == ()
