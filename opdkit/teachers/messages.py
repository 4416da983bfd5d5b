"""The wire format of a scoring server: safetensors with the settings in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from opdkit.data.scores import Scores
from opdkit.heads import Head
from opdkit.models import Request

_FLAGS = ("sampled", "top_k", "combine", "include_sampled", "normaliser", "vocabulary", "stats_k")
_ANSWERED = ("sampled_log_prob", "support_logits", "logsumexp", "entropy", "top_ids", "hidden")
_LONGEST_HEADER = 1 << 16


class MessageError(ValueError):
    """Bytes that are not a valid message, or a message with an invalid request."""


@dataclass(frozen=True)
class ScoringRequest:
    """A request to score N tokens in B sequences.

    Attributes:
        ids: i64[B, L], right-padded sequences.
        row: i64[N], the sequence of each token.
        column: i64[N], the position whose hidden state predicts it.
        sampled: i64[N], the tokens.
        wanted: the requested scores, with support_ids and support_mask as [1, N, K].
        temperature: divides every logit.
        vocabulary: restricts the scores to ids below it.
    """

    ids: Tensor
    row: Tensor
    column: Tensor
    sampled: Tensor
    wanted: Request
    temperature: float
    vocabulary: int

    def check(self, vocabulary: int) -> None:
        """Raises MessageError if a model with this vocabulary size can't score the request."""
        rows, length = self.ids.shape
        inside = (
            (self.row, rows), (self.column, length), (self.sampled, self.vocabulary), (self.ids, vocabulary),
            (self.wanted.support_ids, self.vocabulary),
        )  # fmt: skip
        if not 1 <= self.vocabulary <= vocabulary or not self.temperature > 0:
            raise MessageError(f"vocabulary={self.vocabulary} or temperature={self.temperature} can't be")
        for values, limit in inside:
            if values is not None and values.numel() and not (int(values.min()) >= 0 and int(values.max()) < limit):
                raise MessageError(f"indices span {int(values.min())}..{int(values.max())}, allowed: 0..{limit - 1}")


def pack_request(request: ScoringRequest) -> bytes:
    """Serialise a request."""
    wanted = request.wanted
    tensors = {name: getattr(request, name).to(torch.int32) for name in ("ids", "row", "column", "sampled")}
    if wanted.support_ids is not None:
        tensors["support"] = _narrow(wanted.support_ids, wanted.support_mask, request.vocabulary)
    settings = {name: getattr(wanted, name) for name in _FLAGS}
    settings |= {"temperature": request.temperature, "limit": request.vocabulary}
    return _save(tensors, settings | {"masked": wanted.support_mask is not None})


def read_request(body: bytes) -> ScoringRequest:
    """Deserialise a request. Raises MessageError for invalid bytes."""
    tensors, settings = _load(body)
    try:
        ids, row, column, sampled = (tensors[name].long() for name in ("ids", "row", "column", "sampled"))
        support, mask = _widen(tensors.get("support"), settings["masked"])
        wanted = Request(**{name: settings[name] for name in _FLAGS}, support_ids=support, support_mask=mask)
        temperature, limit = float(settings["temperature"]), int(settings["limit"])
        request = ScoringRequest(ids, row, column, sampled, wanted, temperature, limit)
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"a request lacks or mistakes {error}") from None
    count = len(request.row) if request.row.dim() == 1 else -1
    shapes = [tuple(part.shape) for part in (row, column, sampled)]
    fits = request.ids.dim() == 2 and shapes == [(count,)] * 3
    if not fits or (support is not None and (support.dim() != 3 or support.shape[:2] != (1, count))):
        raise MessageError("the shapes of a request do not fit one another")
    if not all(isinstance(getattr(wanted, name), int) and getattr(wanted, name) >= 0 for name in ("top_k", "stats_k")):
        raise MessageError("top_k and stats_k are whole numbers from 0")
    return request


def pack_scores(scores: Scores, wanted: Request, vocabulary: int) -> bytes:
    """Serialise an answer, scores [1, N, ...]. Support ids that equal the requested ones are not sent back."""
    tensors = {name: value for name in _ANSWERED if (value := getattr(scores, name)) is not None}
    if "top_ids" in tensors:
        tensors["top_ids"] = tensors["top_ids"].to(torch.int32)
    if scores.support_ids is not None and not _echoes(wanted):
        tensors["support"] = _narrow(scores.support_ids, scores.support_mask, vocabulary)
    tensors = {name: value.cpu().contiguous() for name, value in tensors.items()}
    return _save(tensors, {"masked": scores.support_mask is not None})


def read_scores(body: bytes, request: ScoringRequest) -> Scores:
    """Deserialise the answer to `request`, scores [1, N, ...] on the CPU. Raises MessageError for invalid bytes."""
    tensors, settings = _load(body)
    fields: dict[str, Any] = {name: tensors.get(name) for name in _ANSWERED}
    if fields["top_ids"] is not None:
        fields["top_ids"] = fields["top_ids"].long()
    wanted = request.wanted
    given = (wanted.support_ids, wanted.support_mask)
    support = given if _echoes(wanted) else _widen(tensors.get("support"), bool(settings.get("masked")))
    scores = Scores(**fields, support_ids=support[0], support_mask=support[1], temperature=request.temperature)
    count = (1, len(request.row))
    for name in Scores.tensors():
        if (value := getattr(scores, name)) is not None and value.shape[:2] != count:
            raise MessageError(f"{name} has the shape {tuple(value.shape)}")
    return scores


def pack_head(head: Head) -> bytes:
    """Serialise an lm_head."""
    tensors = {"weight": head.weight} if head.bias is None else {"weight": head.weight, "bias": head.bias}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return _save(tensors, {"scale": head.scale, "softcap": head.softcap, "vocabulary": head.vocabulary})


def read_head(body: bytes) -> Head:
    """Deserialise an lm_head. Raises MessageError for invalid bytes."""
    tensors, settings = _load(body)
    try:
        softcap = settings["softcap"]
        return Head(
            tensors["weight"], tensors.get("bias"), float(settings["scale"]),
            None if softcap is None else float(softcap), int(settings["vocabulary"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise MessageError(f"a head lacks or mistakes {error}") from None


def restricted_head(head: Head, vocabulary: int) -> Head:
    """The same head restricted to the first `vocabulary` ids."""
    return replace(head, vocabulary=min(vocabulary, head.vocabulary))


def _echoes(wanted: Request) -> bool:
    """Whether the answer's support equals the requested one."""
    return wanted.support_ids is not None and not wanted.top_k and not wanted.include_sampled


def _narrow(ids: Tensor, mask: Tensor | None, vocabulary: int) -> Tensor:
    """Support ids in 2 or 4 bytes each; filler ids are encoded by their bitwise complement, which is negative."""
    encoded = ids if mask is None else torch.where(mask, ids, ~ids)
    return encoded.to(torch.int16 if vocabulary <= 1 << 15 else torch.int32).cpu().contiguous()


def _widen(encoded: Tensor | None, masked: bool) -> tuple[Tensor | None, Tensor | None]:
    if encoded is None:
        return None, None
    mask = encoded >= 0
    return torch.where(mask, encoded, ~encoded).long(), mask if masked else None


def _save(tensors: Mapping[str, Tensor], settings: Mapping[str, object]) -> bytes:
    named = {name: value.cpu().contiguous() for name, value in tensors.items()}
    return save(named, metadata={"settings": json.dumps(settings)})


def _load(body: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        length = int.from_bytes(body[:8], "little")
        if length > _LONGEST_HEADER:
            raise MessageError(f"a header of {length} bytes")
        settings = json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["settings"])
        tensors = load(body)
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise MessageError(f"no message of opdkit's ({type(error).__name__})") from None
    if not isinstance(settings, dict):
        raise MessageError("no message of opdkit's (settings)")
    return tensors, settings
