"""The client of `opdkit serve`: a teacher that scores over HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.data.rows import join_scores, rollout_rows
from opdkit.data.scores import Scores
from opdkit.errors import RunError, UserError
from opdkit.functional.layout import align_left
from opdkit.generation import Engine, EngineSpec
from opdkit.heads import Head
from opdkit.models import LanguageModel, Request, require_same
from opdkit.models.scorer import spread
from opdkit.models.tokenizer_files import tokenizer_of
from opdkit.retrying import PassingError
from opdkit.servers.contact import Contact
from opdkit.servers.pool import ServerPool
from opdkit.teachers.about import MODEL_HEADER, About
from opdkit.teachers.base import OpenTeacher, TeacherContext
from opdkit.teachers.messages import (
    MessageError,
    ScoringRequest,
    pack_request,
    read_head,
    read_scores,
    restricted_head,
)


def open_served(contact: Contact, model: str | None, context: TeacherContext) -> OpenTeacher:
    """Connect to the servers. model: the name or fingerprint they must serve, None for any. Raises UserError."""
    pool = ServerPool(contact)
    try:
        about = _common_model(pool.greet("/about", About.read), model)
    except BaseException:
        pool.close()
        raise
    return OpenRemoteTeacher(pool, about, context.temperature, context.batch)


def _common_model(served: Mapping[str, About], model: str | None) -> About:
    """The model served by all servers. Raises UserError if they differ."""
    server, about = next(iter(served.items()))
    for other, its in served.items():
        if its.fingerprint != about.fingerprint:
            raise UserError(
                f"teacher.servers: {server} serves {about.name} ({about.fingerprint}), and {other} another model, "
                f"{its.name} ({its.fingerprint})"
            )
    if model is not None and model not in (about.name, about.fingerprint):
        raise UserError(f"teacher.model={model}: {server} serves another model, {about.name} ({about.fingerprint})")
    return about


class OpenRemoteTeacher:
    """Requests scores from its servers, one micro-batch per request, with logits divided by `temperature`."""

    def __init__(
        self,
        pool: ServerPool,
        about: About,
        temperature: float,
        batch: MicroBatch,
        known: dict[str, Any] | None = None,
    ) -> None:
        self._pool = pool
        self._about = about
        self._temperature = temperature
        self._batch = batch
        self._known: dict[str, Any] = {} if known is None else known

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self._about.name

    @property
    def tokenizer(self) -> Any:
        """See `OpenTeacher`. The server's, fetched once."""
        if "tokenizer" not in self._known:
            files = self._pool.get("/tokenizer", _read_json, self._headers)
            self._known["tokenizer"] = tokenizer_of(files, self.name)
        return self._known["tokenizer"]

    @property
    def vocabulary(self) -> int:
        """See `OpenTeacher`."""
        return self._about.vocabulary

    @property
    def stop_ids(self) -> frozenset[int]:
        """See `OpenTeacher`."""
        return frozenset(self._about.stop_ids)

    def metrics(self) -> Mapping[str, float]:
        """See `OpenTeacher`."""
        return {}

    def check(self, student: LanguageModel) -> None:
        """See `OpenTeacher`."""
        require_same(student.tokenizer, self.tokenizer, (student.name, self.name))

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        about = replace(self._about, vocabulary=min(vocabulary, self._about.vocabulary))
        return OpenRemoteTeacher(self._pool, about, self._temperature, self._batch, self._known)

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`. Raises RunError if the servers stay unreachable, or now serve another model."""
        head = self._head(rollout.tokens.device) if request.vocabulary else None
        parts = [self._part(rollout, loss_mask, request, rows) for rows in self._batch.cuts(rollout)]
        bodies = [pack_request(part.request) for part in parts]

        def read(number: int, answer: bytes) -> Scores:
            part = parts[number]
            return part.spread(_passing(lambda: read_scores(answer, part.request)), rollout.tokens.device, head)

        return join_scores(list(self._pool.map("/score", bodies, read, self._headers)), rollout.tokens.shape[1])

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """None: it does not generate."""
        return None

    def bytes(self) -> int:
        """See `OpenTeacher`. The size of its lm_head, once fetched."""
        head: Head | None = self._known.get("head")
        return 0 if head is None else head.weight.numel() * head.weight.element_size()

    def after_update(self, step: int) -> None:
        """See `OpenTeacher`."""

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`. The served model's fingerprint, so that a run resumes only with the same model."""
        return {"fingerprint": self._about.fingerprint}

    def restore(self, state: dict[str, Any]) -> None:
        """See `OpenTeacher`. Raises UserError if another model is served than when the state was saved."""
        before = state.get("fingerprint", self._about.fingerprint)
        if before != self._about.fingerprint:
            raise UserError(
                f"teacher.servers: {self.name} ({self._about.fingerprint}) is another model than the one that was "
                f"served when the run was saved ({before})"
            )

    def close(self) -> None:
        """See `OpenTeacher`."""
        self._pool.close()

    @property
    def _headers(self) -> dict[str, str]:
        return {MODEL_HEADER: self._about.fingerprint}

    def _part(self, rollout: Rollout, loss_mask: Tensor, request: Request, cut: tuple[int, int]) -> _Part:
        start, stop = cut
        rows = rollout_rows(rollout, start, stop)
        width = rows.tokens.shape[1]
        wanted = request.rows(start, stop, width)
        layout = align_left(rows, self._about.pad_id)
        place = loss_mask[start:stop, :width].nonzero(as_tuple=True)
        ids, mask = wanted.support_ids, wanted.support_mask
        wanted = replace(
            wanted,
            support_ids=None if ids is None else ids[place][None],
            support_mask=None if mask is None else mask[place][None],
        )
        asked = ScoringRequest(
            layout.ids, place[0], layout.predictor[place], rows.tokens[place], wanted, self._temperature,
            self.vocabulary,
        )  # fmt: skip
        return _Part(asked, place, rows.tokens.shape)

    def _head(self, device: torch.device) -> Head:
        if "head" not in self._known:
            head = self._pool.get("/head", lambda body: _passing(lambda: read_head(body)), self._headers)
            bias = None if head.bias is None else head.bias.to(device)
            self._known["head"] = replace(head, weight=head.weight.to(device), bias=bias)
        return restricted_head(self._known["head"], self.vocabulary)


@dataclass(frozen=True)
class _Part:
    """A request for some rows, and the positions of its tokens in them."""

    request: ScoringRequest
    place: tuple[Tensor, ...]
    shape: torch.Size

    def spread(self, scores: Scores, device: torch.device, head: Head | None) -> Scores:
        """Scatter scores [1, N, ...] to their positions in [B, T, ...]."""
        row, step = self.place
        values = {name: getattr(scores, name) for name in Scores.tensors()}
        full = {
            name: None if value is None else spread(value[0].to(device), self.shape, (row, step))
            for name, value in values.items()
        }
        return Scores(**full, head=head, temperature=scores.temperature)


def _passing(read: Any) -> Any:
    """Make an unreadable answer a passing error, which is retried, since it may have been cut off in transit."""
    try:
        return read()
    except MessageError as error:
        raise PassingError(f"an answer that can't be read: {error}") from None


def _read_json(body: bytes) -> dict[str, str]:
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise PassingError("an answer that is no JSON") from None
    if not isinstance(read, dict):
        raise RunError("a scoring server sent something else than a tokenizer")
    return read
