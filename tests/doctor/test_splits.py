"""Sampled tokens against the teacher's split of the same text."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from opdkit.doctor.splits import Respelling, respellings, splits
from tests.doctor.tokenizers import BRACKET_FIRST, WHOLE_WORD, bpe, pair, told


def cut(text: str, places: set[int]) -> list[str]:
    ends = [0, *sorted(place for place in places if 0 < place < len(text)), len(text)]
    return [text[start:stop] for start, stop in pairwise(ends) if stop > start]


@given(st.text(alphabet="ab<", max_size=12), st.sets(st.integers(1, 11)), st.sets(st.integers(1, 11)))
def test_parts_are_the_shortest_that_differ(text: str, one: set[int], other: set[int]) -> None:
    ours, theirs = cut(text, one), cut(text, other)
    found = list(respellings(ours, theirs))
    assert (not found) == (ours == theirs)
    for part in found:
        assert "".join(part.student) == "".join(part.teacher) == part.text
        ends = [{len("".join(side[:n])) for n in range(1, len(side))} for side in (part.student, part.teacher)]
        assert not ends[0] & ends[1]
    changed = sum(len(part.student) for part in found)
    assert len(ours) - changed == sum(len(theirs[i:]) > 0 for i in range(len(theirs))) - sum(
        len(part.teacher) for part in found
    )


def test_the_papers_case_is_found_counted_and_answered() -> None:
    student, teacher = bpe(WHOLE_WORD), bpe(BRACKET_FIRST)
    rollouts = [student.encode(text, add_special_tokens=False) for text in ("<think>1 < 2", "1 < 2", "<think><think>")]
    section = splits(pair(student, teacher), rollouts, ())
    assert section.grids[0].rows == (("<think", "< | think", "<th | ink", "3", "2 of 3"),)
    (note,) = section.notes
    assert note.level == "warning"
    assert (
        note.text == "31.6 % of 19 sampled tokens are not those that the teacher's tokenizer gives, among them '<think'"
    )
    assert note.advice == """masking=special_spans 'masking.strings=["<think"]'"""


def test_one_tokenizer_and_a_spelling_that_it_would_not_choose() -> None:
    """With one tokenizer for both: the student sampled `<`, `think`, `>` where the tokenizer says `<th`, `ink`, `>`."""
    tokenizer = bpe(BRACKET_FIRST)
    sampled = tokenizer.convert_tokens_to_ids(["<", "think", ">"])
    section = splits(pair(tokenizer, tokenizer), [sampled], ())
    assert section.grids[0].rows == (("<think", "< | think", "<th | ink", "1", "1 of 1"),)


def test_all_alike() -> None:
    tokenizer = bpe(WHOLE_WORD)
    section = splits(pair(tokenizer, tokenizer), [tokenizer.encode("<think>é", add_special_tokens=False)], ())
    assert told(section) == [("ok", "all 5 sampled tokens are those that the teacher's tokenizer gives")]
    assert section.grids == ()


def test_prose_that_is_rare_is_no_warning() -> None:
    tokenizer = bpe(WHOLE_WORD)
    odd = [*tokenizer.convert_tokens_to_ids(["th", "in"]), *tokenizer.encode("x" * 300, add_special_tokens=False)]
    (note,) = splits(pair(tokenizer, tokenizer), [odd], ()).notes
    assert note.level == "ok"
    assert Respelling("thin", ("th", "in"), ("thin",)).is_tag is False
