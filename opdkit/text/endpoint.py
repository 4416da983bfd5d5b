"""Settings and requests of an OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opdkit.addresses import address_fault
from opdkit.errors import UserError
from opdkit.text.base import Chat

_OMITTABLE = ("response_format", "seed", "temperature", "max_completion_tokens")
_FIXED = ("messages", "model", "n", "stream")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model that answers `POST <base_url>/chat/completions`.

    Attributes:
        model: the model's name at the endpoint.
        base_url: base URL of the endpoint, including `/v1`.
        key_variable: environment variable with the API key; None if the server requires none.
        max_new_tokens: maximum tokens of an answer, reasoning included.
        concurrency: concurrent requests.
        attempts: attempts per answer, including the first.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
        timeout: seconds per request.
        budget_calls: maximum requests of this record, retries included; None for no limit.
        budget_tokens: maximum prompt and completion tokens of this record; None for no limit.
        omit: request fields that the endpoint rejects: response_format, seed, temperature, max_completion_tokens.
        extra_body: extra request fields, passed unchanged.
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
        fault = address_fault(self.base_url)
        if fault == "secret":
            raise UserError("base_url holds a name, a password or a query; a key belongs in the variable key_variable")
        if fault == "form":
            raise UserError(f"base_url={self.base_url!r} is no address; needed: http(s)://host[:port]/v1")
