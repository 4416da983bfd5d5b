"""The bytes of tokens, read from three kinds of vocabularies."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, normalizers

from opdkit.errors import UserError
from opdkit.tokenization import TokenBytes, token_bytes
from tests.doctor.tokenizers import WHOLE_WORD, bpe
from tests.tokenization.tiny import pieces

TEXT = " Is  3 < 4?\n\n\tÉté, 漢字 🙂 to think"


def test_byte_level_tokens_write_their_text_whatever_part_of_a_character_they_hold() -> None:
    tokenizer = bpe(WHOLE_WORD)
    table = token_bytes(tokenizer, "ours")
    assert sorted(string for string in table.strings[:256] if string) == [bytes([byte]) for byte in range(256)]
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    assert b"".join(map(table.of, ids)) == TEXT.encode()
    assert table.strings[tokenizer.get_vocab()["think"]] == b"think"


def test_sentencepiece_spells_spaces_and_bytes() -> None:
    tokenizer = pieces()
    table = token_bytes(tokenizer, "theirs")
    assert table.strings[tokenizer.get_vocab()["\u2581to"]] == b" to"
    assert table.strings[tokenizer.get_vocab()["<0xF0>"]] == b"\xf0"
    ids = tokenizer.encode("🙂 to", add_special_tokens=False)
    assert b"".join(map(table.of, ids)) == " 🙂 to".encode()
    # A byte piece and the letter itself write the same: the letter is what the tokenizer gives.
    assert b"A" in table.ambiguous
    assert table.ids[b"A"] == tokenizer.get_vocab()["A"] != tokenizer.get_vocab()["<0x41>"]


def test_special_tokens_are_named_apart_and_other_added_ones_are_text() -> None:
    tokenizer = bpe(WHOLE_WORD)
    tokenizer.add_tokens([AddedToken("<think>", special=False), AddedToken("<|tool|>", special=True)])
    table = token_bytes(tokenizer, "ours")
    names = tokenizer.get_vocab()
    assert table.strings[names["<think>"]] == b"<think>"
    assert set(table.special.values()) == {"<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|tool|>"}
    assert table.strings[names["<|tool|>"]] is None
    assert table.of(names["<|tool|>"]) == b"<|tool|>"


def test_a_tokenizer_that_tells_the_bytes_of_an_id() -> None:
    table = TokenBytes.from_decoder(4, lambda index: bytes([97 + index]), {0: "<s>"})
    assert table.strings == (None, b"b", b"c", b"d")
    assert table.with_stops([0]).symbols([0, 1]) == [("stop",), b"b"]
    assert table.of(99) == b""


def test_a_tokenizer_that_changes_plain_text_is_refused_in_one_line() -> None:
    tokenizer = bpe(WHOLE_WORD)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UserError, match=r"the tokenizer of theirs can't be aligned with another one: .*'a b  c"):
        token_bytes(tokenizer, "theirs")
