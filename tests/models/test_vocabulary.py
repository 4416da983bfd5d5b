"""Vocabularies that agree, and those that don't."""

from __future__ import annotations

import pytest

from opdkit.errors import UserError
from opdkit.models import require_same
from opdkit.models.vocabulary import compare


class Words:
    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens

    def get_vocab(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}


def test_the_same_words_agree_and_added_ones_are_told() -> None:
    found = require_same(Words("a", "b", "c"), Words("a", "b", "c", "<think>"), ("s", "t"))
    assert found.conflicts == ()
    assert found.only_teacher == (3,)


def test_a_conflict_names_the_tokens() -> None:
    with pytest.raises(UserError, match=r"model=s and teacher=t disagree on 2 tokens.*id 1 is 'b' there and 'x' here"):
        require_same(Words("a", "b", "c"), Words("a", "x", "y"), ("s", "t"))
    assert compare(Words("a", "b"), Words("b", "a")).conflicts == ((0, "a", "b"), (1, "b", "a"))


def test_too_little_in_common_is_refused() -> None:
    with pytest.raises(UserError, match="share 1 tokens only"):
        require_same(Words("a", "b", "c", "d"), Words("a"), ("s", "t"))
