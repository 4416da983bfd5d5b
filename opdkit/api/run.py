"""The results of `opdkit.train` and `opdkit.evaluate`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opdkit.errors import UserError
from opdkit.jsonl import read_rows
from opdkit.runs.folder import RunFolder

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Run:
    """A run, returned by `opdkit.train` or read from a folder.

    Attributes:
        path: the run folder.
        summary: `before`, `after` and `teacher` (each a benchmark's summary), `steps`, `seconds`, `run_dir`;
            `stopped_early` and `best` if set by early_stop and keep_best.
    """

    path: Path
    summary: Mapping[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Run:
        """The finished run in `path`. Raises UserError if there is none."""
        folder = RunFolder(Path(path))
        try:
            return cls(folder.path, json.loads(folder.summary.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: no finished run (summary.json: {error})") from error

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The metrics, one dict per step with its number under `step`; non-finite values are None."""
        return read_rows(self.path / "metrics.jsonl")[0]

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The logged rollouts, one dict each."""
        return read_rows(self.path / "samples.jsonl")[0]

    def dataframe(self) -> DataFrame:
        """`metrics` as a pandas DataFrame indexed by step. Raises UserError if pandas is not installed."""
        try:
            import pandas
        except ImportError as error:
            raise UserError("Run.dataframe() needs pandas; pip install pandas, or use Run.metrics") from error
        return pandas.DataFrame(self.metrics).set_index("step")

    @property
    def final(self) -> Path:
        """The trained student, a Hugging Face folder."""
        return RunFolder(self.path).final

    @property
    def best(self) -> Path | None:
        """The student of the best step, a Hugging Face folder. None without `keep_best.metric`."""
        folder = RunFolder(self.path).best
        return folder if folder.is_dir() else None

    @property
    def checkpoints(self) -> Path:
        """The folder of the kept checkpoints."""
        return RunFolder(self.path).checkpoints

    @property
    def config(self) -> Path:
        """The resolved configuration, a yaml file."""
        return RunFolder(self.path).config


@dataclass(frozen=True)
class EvaluationRun:
    """An evaluation returned by `opdkit.evaluate`.

    Attributes:
        path: the folder; results are in its evals/.
        summaries: the summary of each benchmark by name: `pass@1`, `ci95`, `n_problems`, ...
    """

    path: Path
    summaries: Mapping[str, Mapping[str, Any]]

    @property
    def summary(self) -> Mapping[str, Any]:
        """The summary of a single benchmark. Raises UserError if there are several."""
        return self.summaries[self._name(None)]

    @property
    def responses(self) -> list[dict[str, Any]]:
        """All graded responses to a single benchmark. Raises UserError if there are several."""
        return self.responses_to()

    def responses_to(self, benchmark: str | None = None) -> list[dict[str, Any]]:
        """All graded responses to a benchmark (by default the only one), one dict each."""
        summary = self.summaries[self._name(benchmark)]
        return read_rows(RunFolder(self.path).evals / str(summary["responses"]))[0]

    def _name(self, benchmark: str | None) -> str:
        names = list(self.summaries)
        if benchmark in names or (benchmark is None and len(names) == 1):
            return benchmark or names[0]
        raise UserError(f"benchmark {benchmark}: allowed: one of {', '.join(names)}")
