"""The scoring thread: a bounded request queue with optional batching of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from opdkit.functional.layout import Layout, share_lines
from opdkit.models import LanguageModel
from opdkit.models.scorer import predicting_states, score_hidden
from opdkit.teachers.messages import ScoringRequest, pack_head, pack_scores


class QueueFullError(Exception):
    """The request queue is full."""


class ScoringError(Exception):
    """The model failed on a request."""


@dataclass
class _Job:
    request: ScoringRequest
    answer: asyncio.Future[bytes]


@dataclass
class Worker:
    """Scores requests with `model`.

    Attributes:
        model: the served model.
        queue: maximum waiting requests.
        join_tokens: see `Service`.
        scored: answered requests.
    """

    model: LanguageModel
    queue: int
    join_tokens: int
    scored: int = 0
    _jobs: asyncio.Queue[_Job] = field(init=False)
    _thread: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._jobs = asyncio.Queue(self.queue)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._jobs.qsize()

    async def score(self, request: ScoringRequest) -> bytes:
        """The answer as bytes. Raises QueueFullError."""
        job = _Job(request, asyncio.get_running_loop().create_future())
        try:
            self._jobs.put_nowait(job)
        except asyncio.QueueFull:
            raise QueueFullError from None
        return await job.answer

    async def head(self) -> bytes:
        """The bytes of lm_head."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: pack_head(self.model.head()))

    async def run(self) -> None:
        """Serves requests until cancelled."""
        loop = asyncio.get_running_loop()
        held: _Job | None = None
        while True:
            jobs = [held if held is not None else await self._jobs.get()]
            jobs, held = self._joined(jobs)
            jobs = [job for job in jobs if not job.answer.cancelled()]  # the client has disconnected
            if not jobs:
                continue
            requests = [job.request for job in jobs]
            try:
                answers = await loop.run_in_executor(self._thread, score_together, self.model, requests)
            except Exception as error:  # e.g. out of memory: report it to the clients and serve the next requests
                for job in jobs:
                    if not job.answer.done():
                        job.answer.set_exception(ScoringError(f"{type(error).__name__}: {error}"))
                continue
            self.scored += len(jobs)
            for job, answer in zip(jobs, answers, strict=True):
                if not job.answer.done():
                    job.answer.set_result(answer)

    def _joined(self, jobs: list[_Job]) -> tuple[list[_Job], _Job | None]:
        """The jobs plus waiting ones that fit into the same pass, and the first that does not."""
        while self.join_tokens and not self._jobs.empty():
            job = self._jobs.get_nowait()
            if self._tokens([*jobs, job]) > self.join_tokens:
                return jobs, job
            jobs.append(job)
        return jobs, None

    def _tokens(self, jobs: Sequence[_Job]) -> int:
        """Tokens of a forward pass over the jobs, padding included."""
        shapes = [job.request.ids.shape for job in jobs]
        if self.model.packed:
            return sum(int(_read(job.request.row, job.request.column, len(job.request.ids)).sum()) for job in jobs)
        return sum(rows for rows, _ in shapes) * max(width for _, width in shapes)


@torch.no_grad()
def score_together(model: LanguageModel, requests: Sequence[ScoringRequest]) -> list[bytes]:
    """The answers to requests that share a forward pass."""
    device = model.device
    width = max(request.ids.shape[1] for request in requests)
    ids = torch.cat([_padded(request.ids, width, model.pad_id) for request in requests]).to(device)
    firsts = [sum(len(before.ids) for before in requests[:i]) for i in range(len(requests))]
    row = torch.cat([request.row + first for request, first in zip(requests, firsts, strict=True)]).to(device)
    column = torch.cat([request.column for request in requests]).to(device)
    hidden = _packed_states(model, ids, row, column) if model.packed else predicting_states(model, ids, row, column)
    parts = hidden.split([len(request.row) for request in requests])
    return [_answer(model, request, part) for request, part in zip(requests, parts, strict=True)]


def _packed_states(model: LanguageModel, ids: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """`predicting_states` of packed rows. Tokens after a row's last requested position are omitted."""
    starts = torch.zeros_like(ids[:, :1])
    alone = Layout(ids, torch.arange(len(ids), device=ids.device), starts)
    lengths = _read(row, column, len(ids)).tolist()
    together = share_lines(alone, lengths, model.pad_id, one_line=model.reads_one_line)
    place = together.predictor[row, 0] + column
    return predicting_states(model, together.ids, together.line[row], place, together.positions)


def _read(row: Tensor, column: Tensor, count: int) -> Tensor:
    """i64[count], tokens of each row up to its last requested position, at least one."""
    return torch.ones(count, dtype=torch.int64, device=row.device).scatter_reduce(0, row, column + 1, "amax")


def _answer(model: LanguageModel, request: ScoringRequest, hidden: Tensor) -> bytes:
    device = hidden.device
    head = model.restricted(request.vocabulary).head()
    tokens = request.sampled[None].to(device)
    place = (torch.zeros_like(tokens[0]), torch.arange(tokens.shape[1], device=device))
    given, mask = request.wanted.support_ids, request.wanted.support_mask
    wanted = replace(
        request.wanted,
        support_ids=None if given is None else given.to(device),
        support_mask=None if mask is None else mask.to(device),
    )
    with torch.autocast(device.type, enabled=False):
        scores = score_hidden(hidden, head, tokens, place, wanted, request.temperature)
    return pack_scores(scores, wanted, request.vocabulary)


def _padded(ids: Tensor, width: int, pad_id: int) -> Tensor:
    return torch.nn.functional.pad(ids, (0, width - ids.shape[1]), value=pad_id)
