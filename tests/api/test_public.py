"""The public names of the Python interface and their signatures. A change here is a change for everyone's scripts."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import opdkit

SIGNATURES = {
    "train": "(overrides: 'Sequence[str]' = (), *, callbacks: 'Sequence[Callback]' = (), "
    "config_dir: 'str | Path | None' = None, quiet: 'bool' = False) -> 'Run'",
    "evaluate": "(overrides: 'Sequence[str]' = (), *, config_dir: 'str | Path | None' = None, "
    "quiet: 'bool' = False) -> 'EvaluationRun'",
    "report": "(runs: 'Sequence[str | Path | Run]', out: 'str | Path' = 'report') -> 'Path'",
    "load_objective": "(name: 'str', *, aggregation: 'str' = 'token_mean', config_dir: 'str | Path | None' = None, "
    "**choices: 'str | float | bool | None') -> 'LogitObjective'",
}
MEMBERS = {
    "Run": {
        "path", "summary", "read", "metrics", "samples", "dataframe", "final", "best", "checkpoints", "config",
    },
    "EvaluationRun": {"path", "summaries", "summary", "responses", "responses_to"},
    "LogitObjective": {"objective", "aggregation", "per_token"},
    "Callback": {"on_step", "on_evaluation", "on_checkpoint"},
    "UserError": {"with_traceback", "add_note", "args"},
    "RunError": {"with_traceback", "add_note", "args"},
}  # fmt: skip


def test_the_public_names() -> None:
    assert set(opdkit.__all__) == {*SIGNATURES, *MEMBERS, "__version__"}
    assert dir(opdkit) == sorted(opdkit.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signatures(name: str) -> None:
    function = getattr(opdkit, name)
    assert str(inspect.signature(function)) == SIGNATURES[name]
    assert inspect.getdoc(function)


@pytest.mark.parametrize("name", MEMBERS)
def test_the_members(name: str) -> None:
    found = getattr(opdkit, name)
    fields = getattr(found, "__dataclass_fields__", {})
    public = {member for member in (*dir(found), *fields) if not member.startswith("_")}
    assert public - {"add_note"} == MEMBERS[name] - {"add_note"}
    assert inspect.getdoc(found)


def test_every_name_resolves_to_what_the_type_checker_sees() -> None:
    for name in opdkit.__all__:
        found = getattr(opdkit, name)
        if not isinstance(found, str):
            assert found.__name__ == name


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        opdkit.trian  # noqa: B018


def test_importing_opdkit_imports_nothing_heavy() -> None:
    code = "import opdkit, sys; print([m for m in ('torch', 'hydra', 'transformers', 'pandas') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
