"""Concurrent requests to a chat completions endpoint, with retries.

Response bodies are read here under size and time limits, not by the client: a server may send anything.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import openai
from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
)  # fmt: skip

from opdkit.errors import RunError, UserError
from opdkit.retrying import LastingError, PassingError, Wait, retry_after
from opdkit.text.base import Chat
from opdkit.text.budget import Budget
from opdkit.text.endpoint import Endpoint
from opdkit.text.exchanges import Reply

_LONGEST_BODY = 8 * 2**20
_FAILURES_IN_A_ROW = 16
_AGAIN = (408, 409, 425, 429)


class Completions:
    """An `Endpoint` as a backend.

    An answer that fails after all attempts is a failed reply. The run ends if the address is unreachable, the key or
    model is rejected, the budget is spent, or many answers in a row fail.

    Args:
        spec: the endpoint.
        key: sent with each request, None for none. It never appears in errors or replies.
        budget: counts requests and tokens.
    """

    def __init__(self, spec: Endpoint, key: str | None, budget: Budget) -> None:
        self._spec = spec
        self._key = key
        self._budget = budget
        self._client = openai.OpenAI(api_key=key or "none", base_url=spec.base_url, max_retries=0, timeout=spec.timeout)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._end: UserError | RunError | None = None
        self._answered = False
        self._failures = 0

    @property
    def name(self) -> str:
        """The model's name at the endpoint."""
        return self._spec.model

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """See `Backend`. Excludes the address: the same model may be served elsewhere after a restart."""
        spec = self._spec
        extra = {"omit": sorted(spec.omit), "extra_body": dict(spec.extra_body)}
        return {"kind": "openai", "model": spec.model, "max_new_tokens": spec.max_new_tokens, **extra}

    def replies(self, chats: Sequence[Chat]) -> Iterator[tuple[int, Reply]]:
        """See `Backend`."""
        with ThreadPoolExecutor(self._spec.concurrency, thread_name_prefix="text") as pool:
            futures = {pool.submit(self._reply, chat): index for index, chat in enumerate(chats)}
            try:
                for future in as_completed(futures):
                    reply = future.result()
                    if reply is not None:
                        yield futures[future], reply
            except BaseException:
                self.close()  # cancels requests in flight and waits between attempts
                raise
        if self._end is not None:
            raise self._end

    def close(self) -> None:
        """See `Backend`."""
        self._stop.set()
        self._client.close()

    def _reply(self, chat: Chat) -> Reply | None:
        """One chat's reply; None if the run is about to end without it."""
        started, sent = time.monotonic(), 0
        retrying = Retrying(
            stop=stop_after_attempt(self._spec.attempts) | stop_when_event_set(self._stop),
            wait=Wait(self._spec.backoff),
            retry=retry_if_exception_type(PassingError),
            sleep=sleep_using_event(self._stop),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    if self._stop.is_set():
                        return None
                    self._budget.take()
                    sent += 1
                    text, read, written = self._ask(self._spec.body(chat))
                    self._budget.add_tokens(read + written)
                    self._note(answered=True)
                    error = None if text is not None else "an answer without text"
                    return Reply(text, error, True, read, written, time.monotonic() - started, sent)
        except (PassingError, LastingError) as failure:
            if self._stop.is_set() and isinstance(failure, PassingError):
                return None
            self._judge(failure)
            lasting = isinstance(failure, LastingError)
            return Reply(None, str(failure), lasting, seconds=time.monotonic() - started, attempts=sent)
        except (UserError, RunError) as end:
            self._finish(end)
        return None

    def _judge(self, failure: PassingError | LastingError) -> None:
        """Whether a failed answer ends the run."""
        url = self._spec.base_url
        if isinstance(failure, PassingError) and failure.unreached:
            if self._answered:
                self._finish(RunError(f"text.base_url={url}: the server is gone ({failure}); resume when it is back"))
            else:
                self._finish(
                    UserError(
                        f"text.base_url={url}: no server answers there ({failure}); start one, "
                        f"as in `vllm serve {self._spec.model} --port 8000`"
                    )
                )
            return
        if self._note(answered=False) >= _FAILURES_IN_A_ROW:
            self._finish(RunError(f"text.base_url={url}: {_FAILURES_IN_A_ROW} answers in a row failed ({failure})"))

    def _note(self, *, answered: bool) -> int:
        """Counts consecutive failed answers."""
        with self._lock:
            self._answered = self._answered or answered
            self._failures = 0 if answered else self._failures + 1
            return self._failures

    def _finish(self, end: UserError | RunError) -> None:
        with self._lock:
            self._end = self._end or end
        self._stop.set()

    def _ask(self, body: dict[str, Any]) -> tuple[str | None, int, int]:
        """One request: the answer's text, prompt tokens and completion tokens."""
        try:
            text, read, written = _read_answer(self._send(body))
            return (self._without_key(text) if text else None), read, written
        except openai.APITimeoutError:
            raise PassingError(f"no answer within {self._spec.timeout:g} s") from None
        except openai.APIConnectionError as error:
            raise PassingError(self._shown(error.__cause__ or error), unreached=True) from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None

    def _send(self, body: dict[str, Any]) -> bytes:
        deadline = time.monotonic() + self._spec.timeout
        known = {name: body.pop(name) for name in ("model", "messages")}
        answer = bytearray()
        with self._client.chat.completions.with_streaming_response.create(**known, extra_body=body) as response:
            try:
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > _LONGEST_BODY:
                        raise LastingError(f"an answer of more than {_LONGEST_BODY >> 20} MiB")
                    if time.monotonic() > deadline:
                        raise PassingError(f"no whole answer within {self._spec.timeout:g} s")
            except (LastingError, PassingError):
                raise
            except Exception as error:  # each transport of the client has its own error types
                raise PassingError(f"the answer broke off ({type(error).__name__})") from None
        return bytes(answer)

    def _refused(self, error: openai.APIStatusError) -> Exception:
        """The error for an HTTP status."""
        status, spec = error.status_code, self._spec
        if status in (401, 403):
            where = f"the key in {spec.key_variable}" if spec.key_variable else "requests without a key"
            return UserError(f"text.base_url={spec.base_url}: the server refuses {where} (HTTP {status})")
        if status == 404:
            return UserError(
                f"text.model={spec.model}: {spec.base_url} has no such model or no chat/completions (HTTP 404)"
            )
        if status == 429 and error.code == "insufficient_quota":
            return RunError(f"text.base_url={spec.base_url}: the account's quota is spent")
        if status in _AGAIN or status >= 500:
            return PassingError(f"HTTP {status}", wait=retry_after(error.response.headers.get("retry-after")))
        return LastingError(f"HTTP {status}: {self._shown(error)}")

    def _shown(self, error: BaseException) -> str:
        """An error's text in one bounded line, without the key."""
        text = " ".join(str(error).split()) or type(error).__name__
        return self._without_key(text)[:300]

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _read_answer(answer: bytes) -> tuple[str | None, int, int]:
    """Text, prompt tokens, completion tokens. Raises PassingError for an invalid chat completion."""
    try:
        read: Any = json.loads(answer)
        content = read["choices"][0]["message"]["content"]
    except (ValueError, RecursionError, LookupError, TypeError):
        raise PassingError("the server's answer is no chat completion") from None
    if content is not None and not isinstance(content, str):
        raise PassingError("the server's answer holds no text")
    usage = read.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    tokens = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read_tokens, written = (n if isinstance(n, int) and 0 <= n < 2**31 else 0 for n in tokens)
    return content or None, read_tokens, written
