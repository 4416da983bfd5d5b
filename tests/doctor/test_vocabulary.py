"""Real differences of the token-id maps, and what is only padding."""

from __future__ import annotations

from opdkit.doctor.vocabulary import vocabulary
from tests.doctor.tokenizers import BRACKET_FIRST, SPECIALS, WHOLE_WORD, bpe, pair, told


def test_other_merges_are_the_same_ids() -> None:
    assert told(vocabulary(pair(bpe(WHOLE_WORD), bpe(BRACKET_FIRST)))) == [("ok", "all 265 ids mean the same tokens")]


def test_padding_is_no_difference() -> None:
    found = told(vocabulary(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD), rows=320)))
    assert found == [
        ("ok", "all 265 ids mean the same tokens"),
        ("ok", "55 of 320 rows of the teacher's lm_head are padding, not tokens"),
    ]


def test_an_id_that_means_something_else_stops() -> None:
    section = vocabulary(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD, ("<eos>", "<|im_start|>", "<|im_end|>"), **EOS)))
    assert told(section)[0] == ("stop", "1 ids mean different tokens; 264 mean the same")
    assert section.grids[0].rows == (("262", "<|endoftext|>", "<eos>"),)


EOS = {"pad_token": "<eos>", "eos_token": "<|im_end|>"}


def test_added_tokens_are_named_and_only_the_students_are_a_warning() -> None:
    more = bpe(WHOLE_WORD, (*SPECIALS, "<think>", "</think>"))
    assert told(vocabulary(pair(bpe(WHOLE_WORD), more)))[1] == (
        "ok",
        "2 tokens are unknown to the student: '<think>', '</think>'",
    )
    level, text = told(vocabulary(pair(more, bpe(WHOLE_WORD))))[1]
    assert (level, "unknown to the teacher: '<think>', '</think>'" in text) == ("warning", True)


def test_a_head_that_is_too_small_is_told() -> None:
    found = told(vocabulary(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD), rows=264)))
    assert ("warning", "the teacher's head has 264 rows: the student can't write '<|im_end|>'") in found
    assert any("264 rows for 265 ids" in text for _, text in found)


def test_vocabularies_that_share_little_stop() -> None:
    few = bpe(WHOLE_WORD)
    known = {text: index for text, index in few.get_vocab().items() if index < 100}
    few.get_vocab = lambda: known
    assert told(vocabulary(pair(bpe(WHOLE_WORD), few, rows=None)))[0][0] == "stop"
