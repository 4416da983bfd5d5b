"""A text model behind an OpenAI-compatible endpoint: the provider's own, vLLM, SGLang, llama.cpp."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opdkit.errors import UserError
from opdkit.text.base import Chat, TextModel
from opdkit.text.budget import Budget
from opdkit.text.exchanges import ExchangeLog
from opdkit.text.recorded import RecordedModel

_OMITTABLE = ("response_format", "seed", "temperature", "max_completion_tokens")
_FIXED = ("messages", "model", "n", "stream")


@dataclass(frozen=True, kw_only=True)
class OpenAIModel:
    """A model that answers `POST <base_url>/chat/completions`.

    Attributes:
        model: the model's name at the endpoint.
        base_url: of the endpoint, up to and with `/v1`.
        key_variable: the environment variable that holds the key; None for a server that asks for none.
        max_new_tokens: the longest answer, reasoning included.
        concurrency: requests at a time.
        attempts: requests for one answer, the first included, before it counts as failed.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
        timeout: seconds for one request.
        budget_calls: the most requests of this record, retries included; None for no limit.
        budget_tokens: the most tokens of this record, read and written; None for no limit.
        omit: request fields that the endpoint refuses: response_format, seed, temperature, max_completion_tokens.
        extra_body: more request fields, sent as they are.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_variable: str | None = "OPENAI_API_KEY"
    max_new_tokens: int = 4096
    concurrency: int = 8
    attempts: int = 6
    backoff: float = 1.0
    timeout: float = 300.0
    budget_calls: int | None = None
    budget_tokens: int | None = None
    omit: Sequence[str] = ()
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "concurrency", "attempts", "budget_calls", "budget_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name}={value} must be at least 1")
        for name in ("backoff", "timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name}={getattr(self, name)} must be above 0 and finite")
        if unknown := [name for name in self.omit if name not in _OMITTABLE]:
            raise UserError(f"omit={unknown[0]!r} is no such field; allowed: {', '.join(_OMITTABLE)}")
        if fixed := [name for name in self.extra_body if name in _FIXED]:
            raise UserError(f"extra_body.{fixed[0]} is set by opdkit; not allowed: {', '.join(_FIXED)}")
        self._check_url()

    def open(self, record: Path | None) -> TextModel:
        """See `TextSpec`. Nothing is sent yet. Raises UserError without the client or the key."""
        try:
            from opdkit.text.completions import Completions
        except ImportError as error:
            raise UserError(f"text=openai needs {error.name}: pip install 'opdkit[openai]'") from None
        key = self._key()
        log = ExchangeLog(record)
        budget = Budget(self.budget_calls, self.budget_tokens, (log.requests, log.tokens))
        return RecordedModel(Completions(self, key, budget), log)

    def body(self, chat: Chat) -> dict[str, Any]:
        """The request for one answer."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": message.role, "content": message.content} for message in chat.messages],
            "seed": chat.seed % 2**31,
            "temperature": chat.temperature,
            "max_completion_tokens": self.max_new_tokens,
        }
        if chat.schema is not None:
            form = {"name": chat.schema.get("title", "answer"), "strict": True, "schema": chat.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        body.update(self.extra_body)
        return {name: value for name, value in body.items() if name not in self.omit}

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
        except ValueError:
            wrong, parts = True, urlsplit("")
        if parts.username or parts.password or parts.query:
            raise UserError("base_url holds a name, a password or a query; a key belongs in the variable key_variable")
        if wrong:
            raise UserError(f"base_url={self.base_url!r} is no address; needed: http(s)://host[:port]/v1")

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise UserError(
                f"text.key_variable={self.key_variable}: the environment has no key of that name; export it, or "
                "key_variable=null for a server that asks for none"
            )
        if not (key.isascii() and key.isprintable()):
            raise UserError(
                f"text.key_variable={self.key_variable}: its value is no key: it has characters no header takes"
            )
        return key
