"""The routes of `opdkit serve`.

GET  /health      {"status": "ok", ...}, for monitoring; the only route without a token
GET  /about       the model's name, fingerprint, vocabulary and stop ids
GET  /tokenizer   its files as text
GET  /head        lm_head, for full-vocabulary objectives
POST /score       scores of the tokens of a few sequences (see `opdkit.teachers.messages`)
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from opdkit.models import LanguageModel
from opdkit.models.fingerprint import fingerprint
from opdkit.models.tokenizer_files import tokenizer_files
from opdkit.serving.worker import QueueFullError, ScoringError, Worker
from opdkit.teachers.about import MODEL_HEADER, About
from opdkit.teachers.messages import MessageError, ScoringRequest, read_request

_BYTES = "application/octet-stream"
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """Limits on requests.

    Attributes:
        token: the required token, None for none.
        largest: maximum bytes of a request.
        longest: maximum tokens of a sequence, None if the model has no limit.
    """

    token: str | None
    largest: int
    longest: int | None


def about(model: LanguageModel) -> About:
    """The server's description of its model."""
    stops = tuple(sorted(model.stop_ids))
    return About(model.name, fingerprint(model), model.vocabulary, model.pad_id, stops)


def application(model: LanguageModel, worker: Worker, limits: Limits) -> Starlette:
    """The ASGI application of `model`."""
    routes = _Routes(worker, limits, about(model), tokenizer_files(model.tokenizer))
    return Starlette(
        routes=[
            Route("/health", routes.health),
            Route("/about", routes.guarded(routes.about)),
            Route("/tokenizer", routes.guarded(routes.tokenizer)),
            Route("/head", routes.guarded(routes.head)),
            Route("/score", routes.guarded(routes.score), methods=["POST"]),
        ],
        lifespan=_working(worker),
    )


@dataclass(frozen=True)
class _Routes:
    worker: Worker
    limits: Limits
    known: About
    files: Mapping[str, str]

    def guarded(self, handler: Handler) -> Handler:
        """The handler wrapped to check the token and the requested model."""

        async def checked(request: Request) -> Response:
            if self.limits.token is not None and not _shows(request, self.limits.token):
                return PlainTextResponse("a token is needed", 401)
            if request.headers.get(MODEL_HEADER, self.known.fingerprint) != self.known.fingerprint:
                told = f"it serves another model now, {self.known.name} ({self.known.fingerprint})"
                return PlainTextResponse(told, 412)
            return await handler(request)

        return checked

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": self.worker.waiting, "scored": self.worker.scored})

    async def about(self, _: Request) -> Response:
        return JSONResponse(asdict(self.known))

    async def tokenizer(self, _: Request) -> Response:
        return JSONResponse(dict(self.files))

    async def head(self, _: Request) -> Response:
        return Response(await self.worker.head(), media_type=_BYTES)

    async def score(self, request: Request) -> Response:
        body = await _bounded(request, self.limits.largest)
        if body is None:
            return PlainTextResponse(f"a request has {self.limits.largest} bytes at most", 413)
        try:
            return Response(await self.worker.score(self._read(body)), media_type=_BYTES)
        except MessageError as error:
            return PlainTextResponse(str(error), 400)
        except QueueFullError:
            return PlainTextResponse("the queue is full", 503, headers={"retry-after": "1"})
        except ScoringError as error:
            return PlainTextResponse(str(error)[:300], 500)

    def _read(self, body: bytes) -> ScoringRequest:
        asked = read_request(body)
        asked.check(self.known.vocabulary)
        longest = self.limits.longest
        if longest is not None and asked.ids.shape[1] > longest:
            raise MessageError(f"{asked.ids.shape[1]} tokens, and the model has {longest} positions")
        return asked


def _working(worker: Worker) -> Any:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return lifespan


def _shows(request: Request, token: str) -> bool:
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    return secrets.compare_digest(shown.encode(), token.encode())


async def _bounded(request: Request, largest: int) -> bytes | None:
    """The request body, None if it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > largest:
            return None
    return bytes(body)
