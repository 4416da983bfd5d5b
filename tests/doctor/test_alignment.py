"""What is told of a teacher with another tokenizer."""

from __future__ import annotations

from dataclasses import replace

from tokenizers import normalizers

from opdkit.doctor.alignment import alignment
from tests.doctor.tokenizers import BRACKET_FIRST, WHOLE_WORD, bpe, pair, told
from tests.tokenization.tiny import pieces


def test_one_tokenizer_for_both_loses_nothing() -> None:
    tokenizer = bpe(WHOLE_WORD)
    responses = [tokenizer.encode(text, add_special_tokens=False) for text in ("<think>1 < 2<|im_end|>", "12")]
    section = alignment(pair(tokenizer, tokenizer), responses, shared_mass=0.999)
    assert section.title == "alignment in 2 sample rollouts"
    assert section.grids == ()
    assert [level for level, _ in told(section)] == ["ok", "ok", "ok"]
    assert told(section)[0][1].startswith("100.0 % of 11 sampled tokens")
    assert told(section)[1][1] == "262 tokens have the same bytes, of 262 of the student's and 262 of the teacher's"
    assert "99.9 %" in told(section)[2][1]


def test_what_is_lost_is_counted_and_shown() -> None:
    student, teacher = bpe(WHOLE_WORD), bpe(BRACKET_FIRST)
    responses = [student.encode(text, add_special_tokens=False) for text in ("<think>1<|im_end|>", "<think>")]
    section = alignment(pair(student, teacher), responses, shared_mass=0.9)
    assert section.grids[0].rows == (("<think", "< | think", "<th | ink", "2"),)
    levels = {text: level for level, text in told(section)}
    (first, *_) = told(section)
    assert first[1].startswith("50.0 % of 8 sampled tokens")
    assert first[0] == "warning"
    assert (
        levels["the shared ids hold 90.0 % of the teacher's probability, a mean over the strict positions"] == "warning"
    )


def test_responses_that_the_teacher_can_not_write_and_a_missing_stop_are_told() -> None:
    student, teacher = bpe(WHOLE_WORD), pieces()
    both = pair(student, teacher)
    without_stop = replace(both, teacher=replace(both.teacher, stop_ids=frozenset()))
    responses = [student.encode(text, add_special_tokens=False) for text in ("to\u2581", "to", "<|im_end|>")]
    notes = told(alignment(without_stop, responses))
    assert ("warning", "one of the two has no stop token: the end of a response is not trained") in notes
    assert ("warning", "2 of 3 responses can't be written by the teacher's tokenizer unchanged") in notes
    assert "the teacher lacks" in notes[1][1]
    whole = told(alignment(both, responses))
    assert not any("stop token" in text for _, text in whole)


def test_a_tokenizer_that_changes_text_stops() -> None:
    student, teacher = bpe(WHOLE_WORD), bpe(WHOLE_WORD)
    teacher.backend_tokenizer.normalizer = normalizers.Lowercase()
    (note,) = alignment(pair(student, teacher), [[65]]).notes
    assert note.level == "stop"
    assert "the tokenizer of theirs can't be aligned" in note.text
