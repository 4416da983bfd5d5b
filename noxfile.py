"""The fast tests against other versions: `nox -s oldest newest`, or `nox -s versions -- transformers==5.4.0`.

docs/compatibility.md lists the versions that were tried.
"""

from __future__ import annotations

import nox

nox.options.sessions = ["oldest", "newest"]
FAST = ("python", "-m", "pytest", "-q", "-m", "not slow and not peer")


def _tests(session: nox.Session, *wanted: str) -> None:
    """Installs opdkit without pins, then the versions that are to be tried, and runs the fast tests."""
    session.install("--editable", ".[dev]")
    if wanted:
        session.install(*wanted)
    session.run("python", "-c", "import torch, transformers; print(torch.__version__, transformers.__version__)")
    session.run(*FAST, env={"WANDB_MODE": "offline", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})


@nox.session
def oldest(session: nox.Session) -> None:
    """The oldest torch and transformers that pyproject.toml allows."""
    _tests(session, "torch==2.6.*", "transformers==5.0.*")


@nox.session
def newest(session: nox.Session) -> None:
    """The newest of everything."""
    _tests(session, "--upgrade", "torch", "transformers")


@nox.session
def versions(session: nox.Session) -> None:
    """Versions of one's own, as pip writes them."""
    _tests(session, *session.posargs)
