"""The paper's case in small: tags that two tokenizers over the same ids do not write alike."""

from __future__ import annotations

from opdkit.doctor.special_tokens import masked_out, special_tokens, unlike
from tests.doctor.tokenizers import BRACKET_FIRST, SPECIALS, WHOLE_WORD, bpe, pair, told


def test_the_papers_split() -> None:
    both = pair(bpe(WHOLE_WORD), bpe(BRACKET_FIRST))
    assert unlike(both, ["<think>", "think", "</think>", "<answer>"]) == [
        ("<think>", "< | think | >", "<th | ink | >"),
        ("think", "think", "th | ink"),
        ("</think>", "< | / | think | >", "< | / | th | ink | >"),
    ]
    section = special_tokens(both, ())
    (warning,) = [note for note in section.notes if note.level == "warning"]
    assert "split '<think>', '</think>' differently" in warning.text
    assert warning.advice.endswith("""masking=special_spans 'masking.strings=["<think>", "</think>"]'""")


def test_what_the_run_already_masks_is_no_warning() -> None:
    section = special_tokens(pair(bpe(WHOLE_WORD), bpe(BRACKET_FIRST)), ("<think>", "</think>"))
    assert all(note.level == "ok" for note in section.notes)
    assert section.grids[1].rows[0][0] == "<think>"


def test_known_to_one_alone() -> None:
    both = pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD, (*SPECIALS, "<think>")))
    assert unlike(both, []) == [("<think>", "< | think | >", "<think>")]
    named = pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD, unk_token="<think>", specials=(*SPECIALS, "<think>")))
    assert unlike(named, []) == [("<think>", "< | think | >", "<think> (special)")]


def test_alike_is_ok() -> None:
    assert [note.level for note in special_tokens(pair(bpe(WHOLE_WORD), bpe(WHOLE_WORD)), ()).notes] == ["ok", "ok"]


def test_other_endings() -> None:
    alike = bpe(WHOLE_WORD)
    found = told(special_tokens(pair(alike, bpe(WHOLE_WORD, eos_token="<|endoftext|>")), ()))
    assert ("warning", "the student stops with '<|im_end|>', the teacher with '<|endoftext|>'") in found
    both = frozenset({alike.convert_tokens_to_ids(text) for text in ("<|im_end|>", "<|endoftext|>")})
    found = told(special_tokens(pair(alike, bpe(WHOLE_WORD, eos_token="<|endoftext|>"), stop_ids=both), ()))
    assert found[0] == ("ok", "both can end a response with '<|im_end|>'")


def test_a_student_that_never_stops() -> None:
    found = told(special_tokens(pair(bpe(WHOLE_WORD, eos_token=None), bpe(WHOLE_WORD)), ()))
    assert found[0][0] == "warning"
    assert "no end-of-sequence token" in found[0][1]


def test_quotes_survive_the_shell_and_hydra() -> None:
    assert masked_out(['a"b']) == 'masking=special_spans \'masking.strings=["a\\"b"]\''
