"""A text model with a persistent cache of exchanges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from opdkit.text.base import Chat
from opdkit.text.exchanges import ExchangeLog, Reply, exchange_key


class Backend(Protocol):
    """A text model without a cache."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """Everything besides the chat that determines its answers, as plain values."""
        ...

    def replies(self, chats: Sequence[Chat]) -> Iterator[tuple[int, Reply]]:
        """Yields (chat index, reply) as replies arrive.

        Raises:
            RunError: no more replies can arrive; earlier ones were yielded before.
        """
        ...

    def close(self) -> None:
        """Releases resources."""
        ...


class RecordedModel:
    """A `TextModel` over a backend and a log.

    Chats found in the log, and duplicates within a call, are not requested. Replies are logged as they arrive, so that
    none are lost if the run ends.
    """

    def __init__(self, backend: Backend, log: ExchangeLog) -> None:
        self._backend = backend
        self._log = log
        self._usage: dict[str, float] = dict.fromkeys(
            ("calls", "cached", "failed", "requests", "prompt_tokens", "completion_tokens", "seconds"), 0.0
        )

    @property
    def name(self) -> str:
        """See `TextModel`."""
        return self._backend.name

    def complete(self, chats: Sequence[Chat]) -> list[str | None]:
        """See `TextModel`."""
        fingerprint = self._backend.fingerprint
        keys = [exchange_key(fingerprint, chat) for chat in chats]
        answers: dict[str, str | None] = {}
        wanted: dict[str, Chat] = {}
        for key, chat in zip(keys, chats, strict=True):
            if key not in answers and (known := self._log.find(key)) is not None:
                answers[key] = known.text
            elif key not in answers:
                wanted[key] = chat
        self._usage["cached"] += len(chats) - len(wanted)
        asked = list(wanted.items())
        for index, reply in self._backend.replies([chat for _, chat in asked]):
            key, chat = asked[index]
            self._log.append(key, self.name, chat, reply)
            self._count(reply)
            answers[key] = reply.text
        return [answers[key] for key in keys]

    def usage(self) -> Mapping[str, float]:
        """calls: chats sent to the model; cached: answered from the cache; failed: calls without an answer;
        requests: sent, retries included; prompt_tokens, completion_tokens; seconds: summed over calls."""
        return dict(self._usage)

    def close(self) -> None:
        """See `TextModel`."""
        self._backend.close()

    def _count(self, reply: Reply) -> None:
        self._usage["calls"] += 1
        self._usage["failed"] += reply.text is None
        self._usage["requests"] += reply.attempts
        self._usage["prompt_tokens"] += reply.prompt_tokens
        self._usage["completion_tokens"] += reply.completion_tokens
        self._usage["seconds"] += reply.seconds
