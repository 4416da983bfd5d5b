"""A teacher whose scores are cached on disk, for responses that are scored repeatedly."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.rows import join_scores, pick, rollout_at, scores_rows
from opdkit.data.scores import Scores
from opdkit.errors import RunError, UserError
from opdkit.generation import Engine, EngineSpec
from opdkit.models import LanguageModel, Request
from opdkit.teachers.base import Capabilities, OpenTeacher, Teacher, TeacherContext
from opdkit.teachers.local import OpenLocalTeacher
from opdkit.teachers.wrapped import WrappedTeacher


@dataclass(frozen=True)
class KeptTeacher:
    """A local teacher that scores each response once and caches the scores in a folder.

    For fixed responses (`method=offline`), which recur every epoch and in later runs. Uncached scores are bitwise those
    of the inner teacher. It does not provide the full vocabulary, which would be too large to cache.

    Source: Lightning OPD, 2026 (arXiv 2604.13010).

    Attributes:
        inner: the teacher, a model in this process.
        folder: the cache, one file per response and request, named by a hash of both and of the teacher's weights. It
            can be shared by runs and teachers, and can be deleted.
    """

    inner: Any
    folder: str

    def __post_init__(self) -> None:
        if self.inner.capabilities.changes:
            raise UserError(
                f"teacher.inner={self.inner.path} changes while the student trains: nothing of it can be kept"
            )

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return self.inner.path

    @property
    def capabilities(self) -> Capabilities:
        """The inner teacher's, without the full vocabulary."""
        return replace(self.inner.capabilities, vocabulary=False, own_vocabulary=False)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError unless the inner teacher is a model in this process."""
        inner: Teacher = self.inner
        opened = inner.open(context)
        if not isinstance(opened, OpenLocalTeacher):
            raise UserError(
                f"teacher.inner={self.path}: its scores can't be kept; allowed: teacher/local@teacher.inner"
            )
        return OpenKeptTeacher(opened, _Store(Path(self.folder), opened.fingerprint, context.temperature))


class OpenKeptTeacher(WrappedTeacher):
    """Reads cached rows, and scores the others with the inner teacher."""

    def __init__(self, inner: OpenTeacher, store: _Store) -> None:
        super().__init__(inner)
        self._store = store
        self._metrics: dict[str, float] = {}

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`."""
        return OpenKeptTeacher(self._inner.restricted(vocabulary), self._store)

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """See `OpenTeacher`."""
        return self._inner.writer(spec)

    def metrics(self) -> Mapping[str, float]:
        """kept_share: the fraction of the last call's rows that were cached."""
        return {**self._inner.metrics(), **self._metrics}

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`."""
        keys = [self._key(rollout, loss_mask, request, row) for row in range(len(loss_mask))]
        found = {
            row: one for row, key in enumerate(keys) if (one := self._store.read(key, loss_mask.device)) is not None
        }
        self._metrics = {"kept_share": len(found) / max(1, len(keys))}
        missing = [row for row in range(len(keys)) if row not in found]
        if missing:
            part = rollout if not found else rollout_at(rollout, missing)
            fresh = self._inner.score(part, loss_mask[missing], _of_rows(request, missing))
            width = loss_mask.shape[1]
            for place, row in enumerate(missing):
                found[row] = scores_rows(fresh, place, place + 1, width)
                self._store.write(keys[row], found[row])
            if len(missing) == len(keys):
                return fresh
        return join_scores(_alike([found[row] for row in range(len(keys))]), loss_mask.shape[1])

    def _key(self, rollout: Rollout, loss_mask: Tensor, request: Request, row: int) -> str:
        prompts, used = rollout.prompts, rollout.attention_mask[row]
        parts: list[Tensor] = [
            prompts.ids[row][prompts.attention_mask[row]], rollout.tokens[row][used], loss_mask[row][used].long(),
        ]  # fmt: skip
        if request.support_ids is not None:
            parts.append(request.support_ids[row][used])
        if request.support_mask is not None:
            parts.append(request.support_mask[row][used].long())
        asked = replace(request, support_ids=None, support_mask=None)
        digest = hashlib.blake2b(repr((self._store.teacher, self.vocabulary, asked)).encode(), digest_size=20)
        for part in parts:
            digest.update(repr(tuple(part.shape)).encode() + part.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _Store:
    """The cache folder, with the weights' fingerprint and the temperature, which are part of the key."""

    folder: Path
    fingerprint: str
    temperature: float

    @property
    def teacher(self) -> tuple[str, float]:
        return self.fingerprint, self.temperature

    def read(self, key: str, device: torch.device) -> Scores | None:
        """The cached row, None if there is no file or it is incomplete."""
        file = self._file(key)
        try:
            fields = load_file(file, device=str(device)) if file.is_file() else None
        except (OSError, SafetensorError):
            return None
        if fields is None:
            return None
        known = {name: fields[name] for name in Scores.tensors() if name in fields}
        return replace(Scores(temperature=self.temperature), **known)

    def write(self, key: str, row: Scores) -> None:
        """Write a row. Raises RunError if that fails."""
        fields = {name: value for name in Scores.tensors() if (value := getattr(row, name)) is not None}
        file = self._file(key)
        beside = file.with_suffix(f".{os.getpid()}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: value.cpu().contiguous() for name, value in fields.items()}, beside)
            beside.replace(file)
        except (OSError, SafetensorError) as error:
            raise RunError(f"teacher.folder: {file} could not be written: {error}") from error

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"


def _of_rows(request: Request, rows: Sequence[int]) -> Request:
    ids, mask = pick(request.support_ids, rows), pick(request.support_mask, rows)
    return replace(request, support_ids=ids, support_mask=mask)


def _alike(rows: Sequence[Scores]) -> list[Scores]:
    """The rows with support masks on all if any has one, so that a ragged support can be padded."""
    widths = {row.support_ids.shape[-1] for row in rows if row.support_ids is not None}
    if len(widths) < 2 and len({row.support_mask is None for row in rows}) < 2:
        return list(rows)
    return [
        replace(row, support_mask=torch.ones_like(row.support_ids, dtype=torch.bool))
        if row.support_mask is None and row.support_ids is not None
        else row
        for row in rows
    ]
