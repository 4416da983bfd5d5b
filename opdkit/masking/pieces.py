"""Decodes single tokens to their text."""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.masking.base import TokenizerLike

# What a decoder gives for a part of a multi-byte character, and how many tokens one character may take.
_PART = "�"
_LONGEST_CHARACTER = 4


class Pieces:
    """The text of single tokens, each decoded once."""

    def __init__(self, tokenizer: TokenizerLike) -> None:
        self._tokenizer = tokenizer
        # Behind another token, since some decoders drop the space that a first token begins with.
        self._anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]
        self._skip = len(str(tokenizer.decode(self._anchor)))
        self._known: dict[int, str] = {}

    def of(self, ids: Sequence[int]) -> list[str]:
        """One text a token. A part of a multi-byte character is a replacement character."""
        for token in set(ids) - self._known.keys():
            self._known[token] = self._decode([token])
        return [self._known[token] for token in ids]

    def joined(self, ids: Sequence[int]) -> list[str]:
        """One text a token, where the last token of a multi-byte character has all of it and the others none."""
        texts = self.of(ids)
        start = 0
        while start < len(texts):
            if _PART in texts[start]:
                for stop in range(start + 2, min(start + _LONGEST_CHARACTER, len(texts)) + 1):
                    whole = self._decode(ids[start:stop])
                    if _PART not in whole:
                        texts[start:stop] = [""] * (stop - start - 1) + [whole]
                        start = stop - 1
                        break
            start += 1
        return texts

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode([*self._anchor, *ids]))[self._skip :]
