"""Plays a benchmark's episodes, saves every transcript, and summarises."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opdkit.data.episode import Trajectory
from opdkit.environments import Episode
from opdkit.errors import RunError, UserError
from opdkit.evaluation.chunked import Asked, Request, collect_rows, requests_of
from opdkit.evaluation.episodes import EpisodeBenchmark
from opdkit.evaluation.responses import Row
from opdkit.evaluation.statistics import standard_error, stratified_interval
from opdkit.files import write_whole
from opdkit.seeding import derive_seed
from opdkit.world.world import World

Play = Callable[[Sequence[tuple[Episode, int]]], Sequence[Trajectory]]


def run_episodes(
    play: Play,
    benchmark: EpisodeBenchmark,
    seed: int,
    folder: Path,
    player: str = "",
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The benchmark's summary, also written to `folder`/<stem>.json; stem is the benchmark's name and the player's.

    play: episodes and one seed each -> one transcript each, in order. Transcripts are appended to
    `folder`/<stem>.responses.jsonl in chunks: called again with the same settings and folder, this resumes after the
    last complete row. progress: callback with a progress message.
    Raises UserError if the folder holds transcripts of other settings, RunError if it cannot be written or every
    episode crashed.
    """
    stem = f"{benchmark.name}.{player}" if player else benchmark.name
    episodes = list(benchmark.problems())
    if not episodes:
        raise UserError(f"benchmark {benchmark.name} has no episodes")
    requests = requests_of(episodes, benchmark.n_samples, seed)
    settings = _settings(benchmark, seed, player, episodes)
    rows = collect_rows(
        Asked(stem, "episode", "episodes", settings, requests, benchmark.chunk), partial(_rows, play), folder, progress
    )
    summary = {**summarise_episodes(rows, benchmark, seed), "responses": f"{stem}.responses.jsonl"}
    if World.current().main:
        write_whole(folder / f"{stem}.json", json.dumps(summary, indent=2) + "\n")
    if not summary["n_played"]:
        raise RunError(f"{stem}: all {len(rows)} episodes crashed; the first: {rows[0]['detail']}")
    return summary


def _settings(benchmark: EpisodeBenchmark, seed: int, player: str, episodes: Sequence[Episode]) -> dict[str, object]:
    digest = hashlib.sha256(repr([(e.identifier, e.seed, e.game) for e in episodes]).encode())
    return {
        "benchmark": benchmark.name,
        "player": player or "model",
        "n_samples": benchmark.n_samples,
        "seed": seed,
        **benchmark.protocol(),
        "episodes": digest.hexdigest(),
    }


def _rows(play: Play, requests: Sequence[Request[Episode]]) -> list[Row]:
    trajectories = play([(request.item, request.seed) for request in requests])
    return [_row(request, trajectory) for request, trajectory in zip(requests, trajectories, strict=True)]


def _row(request: Request[Episode], trajectory: Trajectory) -> Row:
    """One transcript with its metrics. A crashed episode has no success and no score."""
    known = trajectory.ending != "crashed"
    return {
        "episode": request.item.identifier,
        "game": request.item.game,
        "sample": request.sample,
        "seed": request.seed,
        "success": trajectory.success if known else None,
        "score": trajectory.score if known else None,
        "ending": trajectory.ending,
        "detail": trajectory.detail,
        "steps": len(trajectory.transitions),
        "invalid": sum(not transition.valid for transition in trajectory.transitions),
        "tokens": sum(transition.tokens for transition in trajectory.transitions),
        "left_out": trajectory.left_out,
        "exchanges": [dataclasses.asdict(transition) for transition in trajectory.transitions],
        "last_observation": trajectory.last_observation,
    }


def summarise_episodes(rows: Sequence[Row], benchmark: EpisodeBenchmark, seed: int) -> dict[str, Any]:
    """The summary of a finished evaluation. Crashed episodes are counted and excluded from all other numbers.

    If all crashed, rates are None. The interval resamples episodes within each game: games are fixed, seeds are a
    sample.
    """
    known = [row for row in rows if row["ending"] != "crashed"]
    games = list(dict.fromkeys(row["game"] for row in rows))
    by_game = {game: _numbers([row for row in known if row["game"] == game], seed, game) for game in games}
    return {
        "benchmark": benchmark.name,
        "n_problems": len({row["episode"] for row in rows}),
        "n_samples": benchmark.n_samples,
        **_numbers(known, seed, benchmark.name),
        "n_crashed": len(rows) - len(known),
        "games": by_game if len(games) > 1 else {},
        "seed": seed,
        "protocol": benchmark.protocol(),
    }


def _numbers(rows: Sequence[Row], seed: int, name: str) -> dict[str, Any]:
    """Rates over rows that did not crash; `pass@1` is the success rate, under the name that training uses."""
    keys = ("success", "score")
    if not rows:
        empty = {"n_played": 0, "pass@1": None, "ci95": None, "standard_error": None}
        return empty | dict.fromkeys((*keys, "score_ci95", "steps_mean", "steps_won_mean", "invalid_rate"))
    actions = sum(row["steps"] for row in rows)
    won = [row["steps"] for row in rows if row["success"]]
    rates = {key: float(np.mean([float(row[key]) for row in rows])) for key in keys}
    transitions = [transition for row in rows for transition in row["exchanges"]]
    return {
        "n_played": len(rows),
        "pass@1": rates["success"],
        "ci95": list(stratified_interval(_strata(rows, "success"), derive_seed(seed, "bootstrap", name))),
        "standard_error": standard_error(_strata(rows, "success")),
        **rates,
        "score_ci95": list(stratified_interval(_strata(rows, "score"), derive_seed(seed, "bootstrap", name, "score"))),
        "steps_mean": actions / len(rows),
        "steps_won_mean": float(np.mean(won)) if won else None,
        "invalid_rate": sum(row["invalid"] for row in rows) / actions if actions else None,
        "truncated_fraction": float(np.mean([transition["truncated"] for transition in transitions]))
        if transitions
        else 0.0,
        "response_tokens_mean": float(np.mean([transition["tokens"] for transition in transitions]))
        if transitions
        else 0.0,
        "context_limit_fraction": float(np.mean([row["ending"] == "context" for row in rows])),
    }


def _strata(rows: Sequence[Row], key: str) -> list[NDArray[np.float64]]:
    """Per-game lists of episode means of `key`: samples of an episode are averaged, games are strata.

    Games with a single episode form one stratum: alone, each would have zero variance.
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        groups.setdefault(row["game"], {}).setdefault(row["episode"], []).append(float(row[key]))
    found = [[float(np.mean(samples)) for samples in episodes.values()] for episodes in groups.values()]
    several, single = (
        [values for values in found if len(values) > 1],
        [values[0] for values in found if len(values) == 1],
    )
    return [np.array(values) for values in (*several, single) if values]
