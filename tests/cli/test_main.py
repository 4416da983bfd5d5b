"""The dispatcher: quick, lazy, and right about its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from opdkit import __version__
from opdkit.cli import main as dispatcher
from opdkit.errors import Interrupted, RunError
from tests.cli.conftest import Opdkit

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"], ["ls"], ["ls", "objective"]])
def test_help_and_ls_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from opdkit.cli.main import main; status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'hydra', 'omegaconf', 'numpy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\nsys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_help_names_every_command(opdkit: Opdkit) -> None:
    told = opdkit("--help")
    assert all(f"  {name} " in told.out for name in dispatcher.COMMANDS)
    assert opdkit("--version").out == f"opdkit {__version__}\n"


@pytest.mark.parametrize("command", ["train", "eval", "study", "serve", "ls", "check"])
def test_every_command_explains_itself(command: str, opdkit: Opdkit) -> None:
    told = opdkit(command, "--help")
    assert (told.status, told.err) == (0, "")
    assert f"opdkit {command}" in told.out


def test_ls_names_groups_and_options(opdkit: Opdkit) -> None:
    assert "objective " in opdkit("ls").out
    lines = opdkit("ls", "objective").out.splitlines()
    assert {"sampled", "topk"} <= {line.split()[0] for line in lines}
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    ("error", "status"),
    [(RunError("the disk\nis full"), 1), (Interrupted(2), 130), (Interrupted(15), 143), (KeyboardInterrupt(), 130)],
)
def test_exit_status(
    error: BaseException, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(given: list[str]) -> int:
        raise error

    monkeypatch.setattr(dispatcher, "run", fail)
    assert dispatcher.main(["train"]) == status
    expected = "opdkit: error: the disk is full\n" if status == 1 else ""
    assert capsys.readouterr().err == expected
