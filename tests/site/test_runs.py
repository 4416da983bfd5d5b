"""The blocks of Start, tutorials and how-to pages, run in their order in one folder, with few steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest

from opdkit.cli import check
from opdkit.cli.check import choices
from opdkit.cli.main import main
from opdkit.errors import UserError
from opdkit.grading.programs import ProgramGrader
from tests.site.blocks import ROOT, Block, blocks, write_files

DOCS = ROOT / "docs"
PAGES = [*sorted((DOCS / "tutorials").glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]
FEW = ("debug=smoke", "steps=1", "benchmark.limit=4", "logger=jsonl")
FEW_AGENT = (
    "steps=1",
    "batch.prompts=2",
    "batch.mini_batch=2",
    "batch.micro_batch=1",
    "benchmark.limit=2",
    "logger=jsonl",
)
"""What is added to a training command: one step. Those of games keep their batches of two."""


def shortened(words: Sequence[str]) -> list[str]:
    """The command with few steps. Loggers and batches that a page is about stay as they are written."""
    if words[1] == "eval":
        return [*(w for w in words if not w.startswith("benchmark.limit=")), "benchmark.limit=2"]
    if words[1] != "train" or "--cfg" in words:
        return list(words)
    few = FEW_AGENT if any("textworld" in word for word in words) else FEW
    added = [w for w in few if not any(given.startswith(w.partition("=")[0] + "=") for given in words)]
    return [*words, *added]


def run_script(arguments: Sequence[str], folder: Path) -> None:
    """A Python script of the checkout, or `-c` with a text, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"


def run_block(block: Block, folder: Path) -> None:
    if block.language == "python" and not block.title:
        run_script(["-c", block.text], folder)
    if block.language != "bash" or block.mark in ("not run", "compose"):
        return
    for words in block.commands:
        if words[0] == "python":
            run_script([str(ROOT / words[1]), *words[2:]], folder)
        else:
            assert main(shortened(words)[1:]) == (2 if block.mark == "fails" else 0), words


def joined(found: list[Block]) -> list[Block]:
    """Python blocks of a page are one program: each sees the names of those before it."""
    code = [b.text for b in found if b.language == "python" and not b.title]
    others = [b for b in found if b.language != "python" or b.title]
    return [*others, Block("python", "", "", "\n".join(code))] if code else others


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [DOCS / "index.md", *PAGES], ids=lambda p: str(p.relative_to(DOCS)))
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playable = shutil.which("java") is not None and find_spec("textworld_express") is not None
    if page.stem == "two-teachers" and not playable:
        pytest.skip("games need Java and opdkit[textworld-express]")
    if page.stem == "code":
        try:
            ProgramGrader().check()
        except UserError as error:
            pytest.skip(str(error))
    for name, value in {"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}.items():
        monkeypatch.setenv(name, value)
    # Every option is composed by `make check`; on a page the first few stand for all.
    monkeypatch.setattr(check, "choices", lambda own: islice(choices(own), 5))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_files(page, tmp_path)
    for block in joined(blocks(page)):
        run_block(block, tmp_path)


def test_few_steps_are_added_where_the_page_does_not_say_otherwise() -> None:
    assert shortened(["opdkit", "train", "logger=wandb", "steps=9"]) == [
        "opdkit", "train", "logger=wandb", "steps=9", "debug=smoke", "benchmark.limit=4",
    ]  # fmt: skip
    assert shortened(["opdkit", "ls"]) == ["opdkit", "ls"]
