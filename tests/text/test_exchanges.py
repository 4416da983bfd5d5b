from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.data.problem import Message
from opdkit.errors import RunError
from opdkit.text import Chat
from opdkit.text.exchanges import ExchangeLog, Reply, exchange_key
from opdkit.text.recorded import RecordedModel

CHAT = Chat((Message("user", "a"),), 1)


class Echo:
    name = "echo"
    fingerprint = {"kind": "echo"}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[str] = []

    def replies(self, chats: Sequence[Chat]) -> Iterator[tuple[int, Reply]]:
        for index, chat in reversed(list(enumerate(chats))):
            self.asked.append(chat.messages[0].content)
            yield index, Reply(chat.messages[0].content.upper())

    def close(self) -> None:
        return


def test_replies_find_their_chats_in_whatever_order_they_come() -> None:
    backend = Echo()
    model = RecordedModel(backend, ExchangeLog(None))
    chats = [Chat((Message("user", text),), 0) for text in ("a", "b", "a", "c")]
    assert model.complete(chats) == ["A", "B", "A", "C"]
    assert backend.asked == ["c", "b", "a"]
    assert model.usage()["cached"] == 1


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(CHAT, seed=2),
        dataclasses.replace(CHAT, temperature=0.5),
        dataclasses.replace(CHAT, schema={"title": "x"}),
        dataclasses.replace(CHAT, messages=(Message("system", "a"),)),
        dataclasses.replace(CHAT, messages=(Message("user", "a"), Message("user", ""))),
    ],
)
def test_the_key_depends_on_all_that_is_asked(other: Chat) -> None:
    assert exchange_key({"m": 1}, CHAT) != exchange_key({"m": 1}, other)
    assert exchange_key({"m": 1}, CHAT) != exchange_key({"m": 2}, CHAT)
    assert exchange_key({"m": 1}, CHAT) == exchange_key({"m": 1}, dataclasses.replace(CHAT))


@given(st.lists(st.tuples(st.text(), st.integers(0, 9)), max_size=5))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str, int]]) -> None:
    file = tmp_path_factory.mktemp("log") / "text.jsonl"
    log = ExchangeLog(file)
    for index, (text, tokens) in enumerate(said):
        log.append(str(index), "m", CHAT, Reply(text, prompt_tokens=tokens))
    again = ExchangeLog(file)
    for kept in (log, again):
        assert [kept.find(str(i)) for i in range(len(said))] == [Reply(text) for text, _ in said]
        assert kept.tokens == sum(tokens for _, tokens in said)
        assert kept.requests == len(said)


def test_lines_that_are_not_ours_and_half_a_line_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    log = ExchangeLog(file)
    log.append("1", "m", CHAT, Reply("one"))
    whole = file.read_bytes()
    file.write_bytes(b'not json\n[1]\n{"key": 3}\n' + whole + whole[:40])
    again = ExchangeLog(file)
    assert again.find("1") == Reply("one")
    again.append("2", "m", CHAT, Reply("two"))
    assert ExchangeLog(file).find("2") == Reply("two")
    assert again.requests == 2


def test_a_disk_that_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").mkdir()
    with pytest.raises(RunError, match=r"text\.jsonl could not be opened"):
        ExchangeLog(tmp_path / "text.jsonl")
