"""Computes the bytes of each token of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from opdkit.errors import UserError

STOP = "stop"
"""The role of the ids that end a response."""

_SPACE = "\u2581"  # SentencePiece's space symbol
_PROBE = "A b  c\n\n\td 12.3"


class Encoder(Protocol):
    """The part of a tokenizer that encodes text."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...


class VocabularyLike(Encoder, Protocol):
    """The part of a transformers fast tokenizer from which token bytes are read."""

    @property
    def all_special_ids(self) -> Sequence[int]: ...

    @property
    def added_tokens_decoder(self) -> Mapping[int, Any]: ...

    def get_vocab(self) -> Mapping[str, int]: ...


@dataclass(frozen=True)
class TokenBytes:
    """The bytes of each id of a tokenizer.

    Attributes:
        strings: one per id, None if the id is special or unused. A token may be part of a character, so a string need
            not be valid UTF-8.
        special: display text of each special id. Such a token is not text, though a tokenizer prints it as such.
        roles: the role of a special id that the other tokenizer also has: `stop`.
    """

    strings: tuple[bytes | None, ...]
    special: Mapping[int, str] = field(default_factory=dict[int, str])
    roles: Mapping[int, str] = field(default_factory=dict[int, str])

    @classmethod
    def from_decoder(cls, size: int, decode: Callable[[int], bytes], special: Mapping[int, str]) -> TokenBytes:
        """From a tokenizer that decodes single ids to bytes, such as tiktoken's and Mistral's."""
        return cls(tuple(None if i in special else decode(i) for i in range(size)), dict(special))

    def with_stops(self, ids: Sequence[int]) -> TokenBytes:
        """A copy in which `ids` end a response. The first represents the role."""
        return self.with_roles(dict.fromkeys(ids, STOP))

    def with_roles(self, roles: Mapping[int, str]) -> TokenBytes:
        """A copy in which these ids have these roles. The first of several with one role represents it."""
        return replace(self, roles={**self.roles, **roles})

    def of(self, index: int) -> bytes:
        """The bytes of one id: of its text if special, empty if unused."""
        if index in self.special:
            return self.special[index].encode()
        return (self.strings[index] if index < len(self.strings) else None) or b""

    def symbols(self, ids: Sequence[int]) -> list[Sequence[int | str]]:
        """Each token's symbols in the stream common to two tokenizers: its bytes, or its role."""
        return [(self.roles[index],) if index in self.roles else self.of(index) for index in ids]

    @cached_property
    def ids(self) -> Mapping[bytes, int]:
        """The id of each byte string. Of two ids with the same bytes the later one is used: byte-fallback pieces
        precede the others in a vocabulary, and added tokens, which are matched first, follow them."""
        return {string: index for index, string in enumerate(self.strings) if string and index not in self.roles}

    @cached_property
    def id_of_role(self) -> Mapping[str, int]:
        """The id of each role."""
        return {role: index for index, role in reversed(list(self.roles.items()))}

    @cached_property
    def ambiguous(self) -> frozenset[bytes]:
        """Byte strings of several ids."""
        count: dict[bytes, int] = {}
        for index, string in enumerate(self.strings):
            if string and index not in self.roles:
                count[string] = count.get(string, 0) + 1
        return frozenset(string for string, times in count.items() if times > 1)


def token_bytes(tokenizer: VocabularyLike, name: str) -> TokenBytes:
    """The bytes of a fast tokenizer's tokens: byte-level BPE, or SentencePiece with its visible space and `<0x0A>`.

    name: model name, for errors. Raises UserError if the ids of a plain text do not reproduce it.
    """
    vocabulary, added = tokenizer.get_vocab(), tokenizer.added_tokens_decoder
    text = {index: token for token, index in vocabulary.items()}
    special = {index: text.get(index, "") for index in tokenizer.all_special_ids}
    special |= {index: token.content for index, token in added.items() if token.special}
    plain = {index: token for index, token in text.items() if index not in added and index not in special}
    spell = _spelling(plain.values())
    strings: list[bytes | None] = [None] * (max(text, default=-1) + 1)
    for index, token in plain.items():
        strings[index] = spell(token)
    for index, token in added.items():
        if index not in special:
            strings[index] = token.content.encode()
    table = TokenBytes(tuple(strings), special)
    written = b"".join(map(table.of, tokenizer.encode(_PROBE, add_special_tokens=False)))
    if written.removeprefix(b" ") != _PROBE.encode():
        raise UserError(
            f"the tokenizer of {name} can't be aligned with another one: the tokens that it makes of {_PROBE!r} "
            f"write {written.decode(errors='replace')!r}"
        )
    return table


def _spelling(tokens: Any) -> Callable[[str], bytes]:
    known = set(tokens)
    pieces = "<0x0A>" in known or any(_SPACE in token for token in known)
    return _sentencepiece if pieces else _byte_level


def _sentencepiece(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.replace(_SPACE, " ").encode()


def _byte_level(token: str) -> bytes:
    if all(letter in _BYTE_OF for letter in token):
        return bytes(_BYTE_OF[letter] for letter in token)
    return token.encode()


def _alphabet() -> dict[str, int]:
    """GPT-2's character of each byte: itself if printable in Latin-1, else the next one from 256."""
    seen = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + place): byte for place, byte in enumerate(hidden)}


_BYTE_OF = _alphabet()
