"""A stand-in for the interpreter with vLLM: started as `vllm serve` is, it serves the folder's model by a stub."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvicorn

from opdkit.models import ModelSpec, load
from tests.serving.stub import Stub, application

ROOT = Path(__file__).resolve().parents[2]
ORDER = "OPDKIT_TEST_ORDER"
"""The environment variable that names the file in which it writes what it was asked, a line each."""


class _Lines(list[str]):
    def append(self, line: str, /) -> None:
        with Path(os.environ[ORDER]).open("a", encoding="utf-8") as file:
            print(line, file=file)


def interpreter(folder: Path) -> Path:
    """An executable file for `rollout.python`."""
    file = folder / "fake-python"
    call = f"sys.path.insert(0, {str(ROOT)!r})\nfrom tests.serving.fake_vllm import main\nmain(sys.argv[1:])\n"
    file.write_text(f"#!{sys.executable}\nimport sys\n{call}")
    file.chmod(0o755)
    return file


def main(arguments: list[str]) -> None:
    """arguments: the script that would start vLLM, the folder, and the options of `vllm serve`."""
    options = dict(zip(arguments[2::2], arguments[3::2], strict=False))
    stub = Stub(load(ModelSpec(arguments[1]), "cpu"), order=_Lines())
    stub.order.append("start" + " to sleep" * ("--enable-sleep-mode" in arguments))
    uvicorn.run(application(stub), port=int(options["--port"]), log_level="warning", ws="none")
