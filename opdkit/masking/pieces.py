"""Decodes single tokens to text."""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.masking.base import TokenizerLike

# A decoder's output for part of a multi-byte character, and the maximum number of tokens in one character.
_PART = "�"
_LONGEST_CHARACTER = 4


class Pieces:
    """The text of single tokens, each decoded once."""

    def __init__(self, tokenizer: TokenizerLike) -> None:
        self._tokenizer = tokenizer
        # Decode after another token, since some decoders strip the leading space of the first token.
        self._anchor = tokenizer.encode("a", add_special_tokens=False)[-1:]
        self._skip = len(str(tokenizer.decode(self._anchor)))
        self._known: dict[int, str] = {}

    def of(self, ids: Sequence[int]) -> list[str]:
        """The text of each token; a replacement character for part of a multi-byte character."""
        for token in set(ids) - self._known.keys():
            self._known[token] = self._decode([token])
        return [self._known[token] for token in ids]

    def joined(self, ids: Sequence[int]) -> list[str]:
        """The text of each token, with a multi-byte character assigned to the last of its tokens."""
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
