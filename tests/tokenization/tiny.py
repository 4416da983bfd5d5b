"""Tiny tokenizers of our own: byte-pair encodings over two letters, and a SentencePiece-like one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from opdkit.tokenization import TokenBytes


class Merges:
    """A byte-pair encoding over the letters `ab` with a stop token, its last id."""

    def __init__(self, merges: Sequence[tuple[int, int]]) -> None:
        """merges: indices (modulo what there is) of the two tokens that each new one joins."""
        self.strings = [b"a", b"b"]
        self.ranks: dict[tuple[bytes, bytes], bytes] = {}
        for left, right in merges:
            pair = (self.strings[left % len(self.strings)], self.strings[right % len(self.strings)])
            if b"".join(pair) not in self.strings:
                self.ranks[pair] = b"".join(pair)
                self.strings.append(b"".join(pair))
        self.stop = len(self.strings)

    @property
    def table(self) -> TokenBytes:
        return TokenBytes((*self.strings, None), {self.stop: "</s>"}).with_stops([self.stop])

    def encode(self, data: bytes, stopped: bool = False) -> list[int]:
        parts = [bytes([byte]) for byte in data]
        for pair, whole in self.ranks.items():
            place = 0
            while place + 1 < len(parts):
                if (parts[place], parts[place + 1]) == pair:
                    parts[place : place + 2] = [whole]
                place += 1
        return [self.strings.index(part) for part in parts] + [self.stop] * stopped


merges = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=7).map(Merges)
letters = st.text(alphabet="ab", min_size=1, max_size=10).map(str.encode)


def pieces(words: Sequence[str] = ("\u2581to", "to"), **settings: Any) -> Any:
    """SentencePiece's way: a visible space, one before each text, and a byte where no piece fits."""
    alphabet = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    letters_known = [chr(code) for code in range(33, 127)]
    vocabulary = [*alphabet, "\u2581", *letters_known, "\u2581t", *words]
    merges = [("\u2581", "t"), ("\u2581t", "o"), ("t", "o")]
    core = Tokenizer(
        models.BPE(
            {token: index for index, token in enumerate(vocabulary)}, merges, unk_token="<unk>", byte_fallback=True
        )
    )
    core.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    core.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.add_special_tokens(["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def strings_of(length: int) -> list[bytes]:
    """All strings of `a` and `b` of one length."""
    return [bin(code)[3:].translate({48: "a", 49: "b"}).encode() for code in range(2**length, 2 ** (length + 1))]
