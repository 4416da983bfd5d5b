"""The tests of models, generation, teachers and training against other versions of transformers.

`nox -s oldest newest`, or `nox -s versions -- transformers==5.4.0` for versions as pip writes them. The rest is pinned
by constraints.txt, which needs Python 3.11 or newer. docs/how-to/install.md lists what was tried.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["oldest", "newest"]
CORE = ("models", "generation", "heads", "tokenization", "teachers", "training")
NEWER = ("qwen3_next", "qwen3_5_text", "falcon_h1", "mamba2", "nemotron_h", "lfm2", "minimax", "gemma2")
"""Architectures whose rows of docs/models.md hold for newer versions than the oldest."""


def _tests(session: nox.Session, *wanted: str, leave_out: tuple[str, ...] = ()) -> None:
    """Installs opdkit as it is pinned, then the versions that are to be tried, and runs the fast tests of the core."""
    session.install("--constraint", "constraints.txt", "torch")
    session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    session.install(*wanted)
    session.run("python", "-c", "import torch, transformers; print(torch.__version__, transformers.__version__)")
    command = ["python", "-m", "pytest", "-q", "-m", "not slow and not peer", *(f"tests/{name}" for name in CORE)]
    if leave_out:
        command += ["-k", " and ".join(f"not {name}" for name in leave_out)]
    session.run(*command, env={"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})


@nox.session
def oldest(session: nox.Session) -> None:
    """The oldest transformers that pyproject.toml allows."""
    _tests(session, "transformers==5.0.0", leave_out=(*NEWER, "eight_bit", "not_exact"))


@nox.session
def newest(session: nox.Session) -> None:
    """The newest transformers."""
    _tests(session, "--upgrade", "transformers")


@nox.session
def versions(session: nox.Session) -> None:
    """Versions of one's own, as pip writes them."""
    _tests(session, *session.posargs)
