"""Runs an evaluation in chunks; each is saved before the next starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from opdkit.errors import UserError
from opdkit.evaluation.responses import ResponseFile, Row
from opdkit.seeding import derive_seed
from opdkit.world.world import World


class Identified(Protocol):
    """A problem or an episode."""

    @property
    def identifier(self) -> str: ...


Item = TypeVar("Item", bound=Identified)


@dataclass(frozen=True)
class Request(Generic[Item]):
    """One requested answer or episode: its problem, sample number and seed."""

    item: Item
    sample: int
    seed: int


@dataclass(frozen=True)
class Asked(Generic[Item]):
    """All requests of an evaluation.

    Attributes:
        stem: stem of its file names.
        kind: the field name of an item in rows: problem or episode.
        noun: word for the rows in messages.
        settings: rows written under other settings are rejected.
        requests: in order, grouped by item.
        chunk: requests generated between writes to disk. Does not change rows.
    """

    stem: str
    kind: str
    noun: str
    settings: Mapping[str, object]
    requests: Sequence[Request[Item]]
    chunk: int


def sample_seed(seed: int, identifier: str, sample: int) -> int:
    """The seed of one response, a function of only the run's seed, the problem and the sample number."""
    return derive_seed(seed, "benchmark", identifier, sample)


def requests_of(items: Sequence[Item], n_samples: int, seed: int) -> list[Request[Item]]:
    """`n_samples` requests per item."""
    return [
        Request(item, sample, sample_seed(seed, item.identifier, sample))
        for item in items
        for sample in range(n_samples)
    ]


def collect_rows(
    asked: Asked[Item],
    answer: Callable[[Sequence[Request[Item]]], list[Row]],
    folder: Path,
    progress: Callable[[str], None] | None,
) -> list[Row]:
    """One row per request, in `folder`/<stem>.responses.jsonl. Called again, it resumes after the last complete row.

    The processes of a run divide the requests: each answers a chunk at a time, and the main one writes the rows.

    Raises UserError if the folder holds rows of other settings, RunError if it can't be written.
    """
    world = World.current()
    file = ResponseFile(folder, asked.stem)
    rows = world.from_main(lambda: _kept(file, asked, folder))
    chunk = asked.chunk * world.size
    while len(rows) < len(asked.requests):
        if progress is not None:
            progress(f"{asked.stem}: {len(rows)} of {len(asked.requests)} {asked.noun}")
        new = world.shared(asked.requests[len(rows) : len(rows) + chunk], answer)
        if world.main:
            file.append(new)
        rows += new
    return rows


def _kept(file: ResponseFile, asked: Asked[Item], folder: Path) -> list[Row]:
    """The existing rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = file.open(asked.settings)
    _check_rows(rows, asked, file.path)
    return rows


def _check_rows(rows: Sequence[Row], asked: Asked[Item], path: Path) -> None:
    one = "an episode" if asked.kind == "episode" else "a response"
    for number, row in enumerate(rows, start=1):
        request = asked.requests[number - 1] if number <= len(asked.requests) else None
        key = (row.get(asked.kind), row.get("sample"), row.get("seed"))
        if request is None or key != (request.item.identifier, request.sample, request.seed):
            raise UserError(f"{path}: line {number} is not {one} of this run; choose another folder")
