"""Re-tokenizes a response with the other tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby

from opdkit.tokenization.bytes import Encoder, TokenBytes


def respell(ids: Sequence[int], student: TokenBytes, teacher: TokenBytes, tokenizer: Encoder) -> list[int] | None:
    """The teacher's ids for a student response, or None if its tokenizer can't represent it.

    An id with a role becomes the teacher's id of that role; a special id without one is tokenized as text.
    """
    of_role = teacher.id_of_role
    written: list[int] = []
    for role, run in groupby(ids, key=student.roles.get):
        if role is None:
            encoded = encode_bytes(b"".join(map(student.of, run)), tokenizer, teacher)
        else:
            encoded = [of_role[role] for _ in run] if role in of_role else None
        if encoded is None:
            return None
        written += encoded
    return written


def encode_bytes(data: bytes, tokenizer: Encoder, table: TokenBytes) -> list[int] | None:
    """Ids whose bytes are exactly `data`, possibly invalid UTF-8. None if there are none or the tokenizer changes it.

    Valid parts are encoded as text; each byte of an invalid part is a separate token.
    """
    ids: list[int] = []
    for part, text in _parts(data):
        if text is None:
            single = [table.ids.get(bytes([byte])) for byte in part]
            ids += [index for index in single if index is not None]
        else:
            ids += _continuation(text, tokenizer, table)
    return ids if b"".join(map(table.of, ids)) == data else None


def _parts(data: bytes) -> Iterator[tuple[bytes, str | None]]:
    """Maximal valid and invalid parts, with the text of the valid ones."""
    while data:
        try:
            yield data, data.decode()
            return
        except UnicodeDecodeError as error:
            if error.start:
                yield data[: error.start], data[: error.start].decode()
            yield data[error.start : error.end], None
            data = data[error.end :]


def _continuation(text: str, tokenizer: Encoder, table: TokenBytes) -> list[int]:
    """The ids of `text` within a document: without the space that SentencePiece prepends at the start."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    length = len(text.encode())
    if sum(len(table.of(index)) for index in ids) == length:
        return ids
    behind = tokenizer.encode("\n" + text, add_special_tokens=False)
    ends = list(accumulate(len(table.of(index)) for index in behind))
    cut = next((place for place, end in enumerate(ends, start=1) if end == ends[-1] - length), None)
    return ids if cut is None else behind[cut:]
