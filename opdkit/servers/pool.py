"""Requests to one or several servers of the same thing: shared out by load, tried again where that may help."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import httpx
from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_after_delay, stop_when_event_set

from opdkit.errors import RunError, UserError
from opdkit.retrying import LastingError, PassingError, Wait, retry_after
from opdkit.servers.contact import Contact

T = TypeVar("T")
Visit = Callable[[Callable[[str, str, bytes], bytes]], object]

_AGAIN = (408, 409, 425, 429)
_REST_SECONDS = 5.0
_CONNECT_SECONDS = 10.0
_LONGEST_ANSWER = 1 << 34


class ServerPool:
    """Sends requests to the server that has the fewest on their way. One that does not answer rests a while.

    Args:
        contact: the servers.
        revive: given where a server must be prepared before it may be asked (`everywhere`). One that does not answer is
            left out until it is prepared again, and where none is left `revive` is called to prepare them.
    """

    def __init__(self, contact: Contact, revive: Callable[[], None] | None = None) -> None:
        self.contact = contact
        self._revive = revive
        self._reviving = threading.Lock()
        self._unprepared: set[int] = set() if revive is None else set(range(len(contact.servers)))
        self._token = contact.token()
        self._servers = [server.rstrip("/") for server in contact.servers]
        self._busy = [0] * len(self._servers)
        self._rests = [0.0] * len(self._servers)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        count = contact.concurrency * len(self._servers)
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(contact.timeout, connect=min(_CONNECT_SECONDS, contact.timeout), pool=None),
            limits=httpx.Limits(max_connections=count, max_keepalive_connections=count),
            trust_env=False,
        )
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=contact.key)
        self.failures = 0

    def greet(self, path: str, read: Callable[[bytes], T]) -> dict[str, T]:
        """What each server that answers says of itself, asked once. Raises UserError where none does."""
        found: dict[str, T] = {}
        silent: dict[str, str] = {}
        for server in self._servers:
            try:
                found[server] = read(self._ask(server, "GET", path, b"", {}))
            except PassingError as failure:
                silent[server] = str(failure)
            except LastingError as failure:
                raise UserError(f"{self.contact.key}.servers: {server} is another server ({failure})") from None
        for server, why in silent.items():
            if not found:
                raise UserError(
                    f"{self.contact.key}.servers: no server answers at {server} ({why}); "
                    f"start one, as in `{self.contact.start}`"
                )
            self._left_out(server, why)
        return found

    def map(
        self, path: str, bodies: Sequence[bytes], read: Callable[[int, bytes], T], headers: Mapping[str, str]
    ) -> Iterator[T]:
        """`read(number, answer)` of each body's answer, in order, several at a time. An answer for which `read` raises
        PassingError is asked for again.

        Raises RunError where no server gives an answer in time, or one refuses.
        """

        def one(number: int) -> T:
            return self._with_patience(path, bodies[number], lambda answer: read(number, answer), headers)

        futures = [self._threads.submit(one, number) for number in range(len(bodies))]
        try:
            for future in futures:
                yield future.result()
        finally:
            for future in futures:
                future.cancel()

    def get(self, path: str, read: Callable[[bytes], T], headers: Mapping[str, str]) -> T:
        """What any of the servers has at `path`, with the same patience."""
        return self._with_patience(path, None, read, headers)

    def everywhere(self, ask: Visit, *, prepared: bool = False) -> None:
        """Visit each server, or with `prepared` those that may be asked: `ask` is called with what asks that server
        (method, path, body). Those that answer may be asked from now on, the others not.

        Raises PassingError where none answers, LastingError where one refuses.
        """

        def visit(index: int) -> None:
            server = self._servers[index]
            ask(lambda method, path, body: self._ask(server, method, path, body, {"content-type": "application/json"}))

        chosen = [i for i in range(len(self._servers)) if not prepared or i not in self._unprepared]
        # Threads of their own: those of `map` may all be waiting for this.
        with ThreadPoolExecutor(max(1, len(chosen))) as threads:
            futures = {index: threads.submit(visit, index) for index in chosen}
        failures: dict[int, PassingError] = {}
        for index, future in futures.items():
            try:
                future.result()
                self._rests[index] = 0.0
            except PassingError as failure:
                failures[index] = failure
        with self._lock:
            new = set(failures) - self._unprepared
            self._unprepared = (self._unprepared - set(chosen)) | set(failures)
        if failures and len(failures) == len(chosen):
            raise next(iter(failures.values()))
        for index in new:
            self._left_out(self._servers[index], str(failures[index]))

    def patiently(self, act: Callable[[], T]) -> T:
        """`act` again and again while it raises PassingError, for as long as the patience lasts. Raises RunError."""
        contact = self.contact
        retrying = Retrying(
            stop=stop_after_delay(contact.patience) | stop_when_event_set(self._stop),
            wait=Wait(contact.backoff),
            retry=retry_if_exception_type(PassingError),
            sleep=sleep_using_event(self._stop),
            reraise=True,
        )
        try:
            return retrying(act)
        except PassingError as failure:
            raise RunError(
                f"{contact.key}.servers: no answer for {contact.patience:g} s ({failure}); resume when they are back"
            ) from None
        except LastingError as failure:
            raise RunError(f"{contact.key}.servers: {failure}") from None

    def close(self) -> None:
        """End what is on its way."""
        self._stop.set()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _with_patience(
        self, path: str, body: bytes | None, read: Callable[[bytes], T], headers: Mapping[str, str]
    ) -> T:
        return self.patiently(lambda: self._anywhere(path, body, read, headers))

    def _anywhere(self, path: str, body: bytes | None, read: Callable[[bytes], T], headers: Mapping[str, str]) -> T:
        self._require_one()
        index = self._take()
        server = self._servers[index]
        try:
            return read(self._ask(server, "GET" if body is None else "POST", path, body or b"", headers))
        except PassingError as failure:
            with self._lock:
                self.failures += 1
                rests = time.monotonic() < self._rests[index]
                self._rests[index] = time.monotonic() + (_REST_SECONDS if failure.unreached else failure.wait)
                if failure.unreached and self._revive is not None:
                    self._unprepared.add(index)
            if failure.unreached and not rests and len(self._servers) > 1:
                self._left_out(server, str(failure))
            raise
        finally:
            with self._lock:
                self._busy[index] -= 1

    def _require_one(self) -> None:
        """Prepare the servers again where none may be asked."""
        if self._revive is None or len(self._unprepared) < len(self._servers):
            return
        with self._reviving:
            if len(self._unprepared) == len(self._servers):
                self._revive()

    def _take(self) -> int:
        """The server for the next request."""
        with self._lock:
            now = time.monotonic()
            ready = [i for i in range(len(self._servers)) if i not in self._unprepared]
            index = min(ready or range(len(self._servers)), key=lambda i: (self._rests[i] > now, self._busy[i], i))
            self._busy[index] += 1
            return index

    def _ask(self, server: str, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """One answer. Raises PassingError and LastingError, and UserError where a token is asked for."""
        answer = bytearray()
        try:
            with self._client.stream(method, server + path, content=body or None, headers=dict(headers)) as response:
                for chunk in response.iter_bytes():
                    answer += chunk
                    if len(answer) > _LONGEST_ANSWER:
                        raise LastingError(f"an answer of more than {_LONGEST_ANSWER >> 30} GiB")
        except httpx.TimeoutException as error:
            unreached = isinstance(error, httpx.ConnectTimeout)
            raise PassingError(f"{server}: no answer in time", unreached=unreached) from None
        except httpx.TransportError as error:
            unreached = isinstance(error, httpx.ConnectError)
            raise PassingError(f"{server}: {_shown(str(error)) or type(error).__name__}", unreached=unreached) from None
        content = bytes(answer)
        self._judge(server, response, content)
        return content

    def _judge(self, server: str, response: httpx.Response, answer: bytes) -> None:
        status = response.status_code
        if status < 300:
            return
        if status in (401, 403):
            variable = self.contact.token_variable
            known = "the token of" if self._token else "requests without a token: export it as"
            raise UserError(f"{self.contact.key}.servers: {server} refuses {known} {variable} (HTTP {status})")
        told = f"{server}: HTTP {status}: {_shown(answer[:300].decode('utf-8', 'replace'))}"
        if status in _AGAIN or status >= 500:
            raise PassingError(told, wait=retry_after(response.headers.get("retry-after")))
        raise LastingError(told)

    def _left_out(self, server: str, why: str) -> None:
        logging.getLogger("opdkit").warning("%s: %s is left out for now (%s)", self.contact.key, server, why)


def _shown(text: str) -> str:
    """One bounded line."""
    return " ".join(text.split())[:300]
