"""Texts of single tokens add up to the text of them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opdkit.masking import Pieces
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()  # bytes: every character beyond ASCII takes several tokens


@given(st.text(max_size=30))
def test_joined_texts_are_the_text(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    found = Pieces(TOKENIZER).joined(ids)
    assert len(found) == len(ids)
    assert "".join(found) == TOKENIZER.decode(ids)


def test_a_character_stands_at_its_last_token() -> None:
    ids = TOKENIZER.encode("aé€b", add_special_tokens=False)
    assert Pieces(TOKENIZER).joined(ids) == ["a", "", "é", "", "", "€", "b"]


def test_a_character_that_is_cut_stays_a_mark() -> None:
    ids = TOKENIZER.encode("€", add_special_tokens=False)[:2]
    assert set("".join(Pieces(TOKENIZER).joined(ids))) == {"�"}
