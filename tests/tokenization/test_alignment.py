"""Groups, placements and the teacher's spelling of a response, against brute force."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from opdkit.tokenization import Placement, TokenBytes, align, encode_bytes, place, respell, token_bytes
from tests.doctor.tokenizers import BRACKET_FIRST, WHOLE_WORD, bpe
from tests.tokenization.tiny import Merges, letters, merges, pieces


def bounds(tokens: Sequence[Sequence[int | str]]) -> list[int]:
    return list(accumulate(map(len, tokens)))


@given(merges, merges, letters, st.booleans())
def test_groups_are_cut_at_every_common_boundary_and_nowhere_else(
    student: Merges, teacher: Merges, text: bytes, stopped: bool
) -> None:
    ours, theirs = (t.table.symbols(t.encode(text, stopped)) for t in (student, teacher))
    found = align(ours, theirs)
    assert found.complete
    assert [bounds(ours)[g.student.stop - 1] for g in found.groups] == sorted({*bounds(ours)} & {*bounds(theirs)})
    assert [n for g in found.groups for n in g.student] == list(range(len(ours)))
    assert [n for g in found.groups for n in g.teacher] == list(range(len(theirs)))
    for group in found.groups:
        inside = [set(bounds([side[n] for n in span])[:-1]) for side, span in zip((ours, theirs), group, strict=True)]
        assert not inside[0] & inside[1]
    expected = [
        (i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs) if a == b and same_end(ours, theirs, i, j)
    ]
    assert found.strict == expected


def same_end(ours: Sequence[Sequence[int | str]], theirs: Sequence[Sequence[int | str]], i: int, j: int) -> bool:
    return bounds(ours)[i] == bounds(theirs)[j]


@given(merges, letters)
def test_one_tokenizer_for_both_gives_one_against_one(both: Merges, text: bytes) -> None:
    tokens = both.table.symbols(both.encode(text, stopped=True))
    assert align(tokens, tokens).strict == [(n, n) for n in range(len(tokens))]
    assert place(tokens, tokens) == [
        Placement(n, b"", bytes(x for x in token if isinstance(x, int))) for n, token in enumerate(tokens)
    ]


@given(merges, merges, letters)
def test_placements_tell_what_is_written_and_what_is_begun(student: Merges, teacher: Merges, text: bytes) -> None:
    ours, theirs = (t.table.symbols(t.encode(text)) for t in (student, teacher))
    ends = bounds(theirs)
    for token, stop, found in zip(ours, bounds(ours), place(ours, theirs), strict=True):
        assert found is not None
        start = stop - len(token)
        own = range(len(ends))
        (index,) = [j for j in own if ends[j] - len(theirs[j]) <= start < ends[j]]
        whole = bytes(x for x in theirs[index] if isinstance(x, int))
        assert found.token == index
        assert (found.written, found.rest) == (text[ends[index] - len(whole) : start], text[start : ends[index]])
        assert (found.crossing is not None) == (stop > ends[index])
        if found.crossing is not None:
            (last,) = [j for j in own if ends[j] - len(theirs[j]) < stop <= ends[j]]
            assert found.crossing.last == last
            begun = text[ends[last] - len(theirs[last]) : stop]
            assert found.crossing.begun == (b"" if stop == ends[last] else begun)


def test_groups_end_before_the_first_difference() -> None:
    found = align([b"ab", b"c", b"d"], [b"a", b"b", b"x", b"d"])
    assert not found.complete
    assert [tuple(map(tuple, group)) for group in found.groups] == [((0,), (0, 1))]
    assert [None if p is None else p.token for p in place([b"ab", b"c", b"d"], [b"a", b"b", b"x", b"d"])] == [
        0,
        None,
        None,
    ]


def test_a_token_without_bytes_joins_the_one_behind_it() -> None:
    found = align([b"a", b"", b"b"], [b"a", b"b"])
    assert [tuple(map(tuple, group)) for group in found.groups] == [((0,), (0,)), ((1, 2), (1,))]
    assert [p and p.token for p in place([b"a", b"", b"b"], [b"a", b"b"])] == [0, None, 1]
    assert not align([b"a", b""], [b"a"]).complete


def test_a_role_is_no_text() -> None:
    assert align([("stop",)], [b"stop"]).groups == ()
    assert align([b"a", ("stop",)], [b"a", ("stop",)]).strict == [(0, 0), (1, 1)]


def spoken(student: object, teacher: object, ids: list[int]) -> tuple[TokenBytes, TokenBytes, list[int] | None]:
    ours, theirs = (token_bytes(t, "x").with_stops([t.eos_token_id]) for t in (student, teacher))  # type: ignore[attr-defined]
    return ours, theirs, respell(ids, ours, theirs, teacher)  # type: ignore[arg-type]


def test_think_as_one_id_against_three_and_stops_by_role() -> None:
    student, teacher = (
        bpe(WHOLE_WORD),
        bpe(BRACKET_FIRST, specials=("</s>", "<pad>"), eos_token="</s>", pad_token="<pad>"),
    )
    student.add_tokens([AddedToken("<think>", special=False)])
    ids = student.encode("<think>1 < 2<|im_end|>", add_special_tokens=False)
    ours, theirs, written = spoken(student, teacher, ids)
    assert written is not None
    assert [theirs.of(index) for index in written[:3]] == [b"<th", b"ink", b">"]
    assert written[-1] == teacher.eos_token_id
    found = align(ours.symbols(ids), theirs.symbols(written))
    assert found.complete
    assert found.groups[0] == (range(1), range(3))
    assert all(group.strict for group in found.groups[1:])
    back = spoken(teacher, student, written)[2]
    assert back == ids


def test_a_special_token_without_a_counterpart_is_spelled_as_its_text() -> None:
    student, teacher = bpe(WHOLE_WORD, specials=("<|endoftext|>", "<|im_end|>", "<answer>")), bpe(WHOLE_WORD)
    student.add_special_tokens({"additional_special_tokens": ["<answer>"]})
    ids = student.encode("<answer>1", add_special_tokens=False)
    assert len(ids) == 2
    _, theirs, written = spoken(student, teacher, ids)
    assert written is not None
    assert b"".join(map(theirs.of, written)) == b"<answer>1"
    assert len(written) == 9


def test_a_stop_without_a_counterpart_can_not_be_written() -> None:
    tokenizer = bpe(WHOLE_WORD)
    table = token_bytes(tokenizer, "x")
    assert respell([tokenizer.eos_token_id], table.with_stops([tokenizer.eos_token_id]), table, tokenizer) is None


@given(st.one_of(st.binary(max_size=12), st.text(max_size=12).map(str.encode)))
def test_any_bytes_have_ids_in_both_kinds_of_vocabularies(data: bytes) -> None:
    for tokenizer in (BYTES, PIECES):
        table = token_bytes(tokenizer, "x")
        ids = encode_bytes(data, tokenizer, table)
        if tokenizer is PIECES and b"\xe2\x96\x81" in data:  # its visible space, which it takes for a space
            assert ids is None
        else:
            assert ids is not None
            assert b"".join(map(table.of, ids)) == data


BYTES, PIECES = bpe(WHOLE_WORD), pieces()


def test_a_response_does_not_begin_with_the_space_of_a_document() -> None:
    table = token_bytes(PIECES, "x")
    for text in ("to", " to", "  to", "\nto", "\n\n to  to\n", " ", "é to"):
        ids = encode_bytes(text.encode(), PIECES, table)
        assert ids is not None, text
        assert b"".join(map(table.of, ids)) == text.encode()
    assert encode_bytes(b"to to", PIECES, table) == [PIECES.get_vocab()["to"], PIECES.get_vocab()["\u2581to"]]


def test_white_space_runs_and_broken_characters_align() -> None:
    student, teacher = BYTES, PIECES
    ours, theirs = token_bytes(student, "s"), token_bytes(teacher, "t")
    data = b"a   b\n\n\xf0\x9f\x99\x82\xff\xf0\x9f to"
    ids = encode_bytes(data, student, ours)
    assert ids is not None
    written = respell(ids, ours, theirs, teacher)
    assert written is not None
    found = align(ours.symbols(ids), theirs.symbols(written))
    assert found.complete
    assert len(found.strict) == len(data) - 3
    assert found.groups[-1] == (range(len(data) - 3, len(data)), range(len(written) - 1, len(written)))
