"""Models, data and run folders that cannot be used, through the real command line with the embedded pair."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.runs.folder import RunFolder
from tests.cli.conftest import Opdkit
from tests.cli.test_bad_input import check_line, listing

EMBEDDED = Path(__file__).resolve().parents[2] / "opdkit" / "models" / "embedded"

FILES: dict[str, bytes] = {
    "empty.jsonl": b"",
    "null.jsonl": b'{"question": "1+1", "answer": null}\n',
    "column.jsonl": b'{"question": "1+1", "answer": "#### 2"}\n{"question": "1+2"}\n',
    "twice.jsonl": b'{"question": "1+1", "answer": "2", "id": 7}\n{"question": "1+2", "answer": "3", "id": 7}\n',
    "half.jsonl": b'{"question": "1+1", "answer": "#### 2"}\n{"question": "1+',
    "pattern.jsonl": b'{"question": "1+1", "answer": "two"}\n',
    "binary.jsonl": b"\xff\xfe\x00\n",
    "list.jsonl": b"[1, 2]\n",
    "table.parquet": b"PAR1",
    "notes.txt": b"a note",
}
DATA = [
    ("empty.jsonl", ["empty.jsonl", "no rows"]),
    ("null.jsonl", ["null.jsonl, line 1: column 'answer' is null"]),
    ("column.jsonl", ["column.jsonl", "line 2", "answer", "question"]),
    ("half.jsonl", ["half.jsonl", "line 2", "JSON"]),
    ("pattern.jsonl", ["pattern.jsonl", "line 1", "answer_pattern"]),
    ("binary.jsonl", ["binary.jsonl", "line 1", "UTF-8"]),
    ("list.jsonl", ["list.jsonl", "line 1"]),
    ("table.parquet", ["table.parquet", "parquet"]),
    ("notes.txt", ["notes.txt", ".jsonl"]),
    ("nowhere.jsonl", ["nowhere.jsonl", "no such file"]),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("typed", ["train task=gsm8k task.path=", "eval benchmark=gsm8k benchmark.path="])
@pytest.mark.parametrize(("name", "patterns"), DATA, ids=[name for name, _ in DATA])
def test_data(typed: str, name: str, patterns: list[str], files: Path, opdkit: Opdkit) -> None:
    before = listing(files)
    told = opdkit(*f"{typed}{name}".split(" "))
    assert told.status == 2, told
    key = typed.split(" ")[2]
    check_line(told.err, [f"error: {key}{name}", *patterns])
    assert listing(files) == before


def test_an_identifier_that_stands_twice(files: Path, opdkit: Opdkit) -> None:
    overrides = ["benchmark.path=twice.jsonl", "benchmark.source.columns.question=question"]
    told = opdkit("eval", "benchmark=aime25", *overrides)
    assert told.status == 2, told
    check_line(told.err, ["benchmark.path=twice.jsonl, line 2: id 'aime25/7' stands already at twice.jsonl, line 1"])


def copy_model(name: str, folder: Path) -> Path:
    shutil.copytree(EMBEDDED / name, folder)
    return folder


MODELS = {
    "no config": (lambda f: (f / "config.json").unlink(), ["model.path"]),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ["model.path"]),
    "damaged weights": (lambda f: (f / "model.safetensors").write_bytes(b"not weights"), ["model.path"]),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("token*")], ["model.path"]),
    "damaged config": (lambda f: (f / "config.json").write_text("{"), ["model.path"]),
    "unknown architecture": (
        lambda f: (f / "config.json").write_text('{"model_type": "never_heard_of"}'),
        ["model.path"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, opdkit: Opdkit, tmp_path: Path) -> None:
    damage, patterns = MODELS[name]
    damage(copy_model("student", tmp_path / "model"))
    before = listing(tmp_path)
    told = opdkit("train", "model=local", "model.path=model", "logger=jsonl")
    assert told.status == 2, told
    check_line(told.err, patterns)
    assert listing(tmp_path) == before


def test_vocabularies_that_disagree_are_named(opdkit: Opdkit, tmp_path: Path) -> None:
    folder = copy_model("teacher", tmp_path / "teacher")
    text = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = text["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(text), encoding="utf-8")
    before = listing(tmp_path)
    told = opdkit("train", "teacher=local", "teacher.path=teacher", "logger=jsonl")
    assert told.status == 2, told
    check_line(told.err, ["vocabular|token", "'a'", "'b'"])
    assert listing(tmp_path) == before


def begun(folder: Path, *overrides: str) -> None:
    """A run folder that holds nothing but its configuration."""
    config = compose(Source("train"), overrides)
    resolved = build_experiment(config, Origin(overrides, {}, Source("train").folders)).resolved
    folder.mkdir()
    RunFolder(folder).config.write_text(yaml.safe_dump(dict(resolved)))


@pytest.mark.parametrize(
    ("typed", "patterns"),
    [
        ("run_dir=run", ["run_dir='run' already contains a run", "resume=true"]),
        ("run_dir=run resume=true", ["resume=true", "checkpoint"]),
        ("run_dir=run resume=true k=16", [r"resume=true", r"objective\.k: 32 -> 16"]),
        ("run_dir=run resume=true objective=sampled", ["resume=true", r"objective\.support: 'teacher' -> 'sampled'"]),
        ("run_dir=run resume=true seed=1 steps=7", ["seed: 0 -> 1", "steps: .* -> 7"]),
    ],
)
def test_run_folders(typed: str, patterns: list[str], opdkit: Opdkit, tmp_path: Path) -> None:
    begun(tmp_path / "run", "run_dir=run")
    before = listing(tmp_path)
    told = opdkit("train", *typed.split(" "))
    assert told.status == 2, told
    check_line(told.err, patterns)
    assert [name for name in listing(tmp_path) if not name.endswith(".lock")] == before


def test_a_folder_in_use(opdkit: Opdkit, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").owned():
        told = opdkit("train", "run_dir=run")
    assert told.status == 2
    check_line(told.err, ["run_dir='run' is in use by another run"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(opdkit: Opdkit, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    told = opdkit("train", "run_dir=locked/run")
    assert told.status == 2
    check_line(told.err, ["run_dir=locked/run: no permission to write"])
