"""A vLLM server on this machine, started and stopped by the run."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from opdkit.errors import UserError
from opdkit.generation.vllm_settings import VLLMSettings

SLEEP_OPTION = "--enable-sleep-mode"
_LAUNCH = Path(__file__).parent / "vllm_server" / "launch.py"
_EXCEPTION = re.compile(r"\w(Error|Exception): ")
_WARNING = re.compile(r"\b(WARNING|INFO)\b")
_START_SECONDS = 900.0
_END_SECONDS = 20.0
# Prefixes of torchrun's environment variables, which the server must not inherit.
_LAUNCHER_VARIABLES = (
    "PYTHONPATH", "RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_", "TORCH_NCCL_",
)  # fmt: skip


class VLLMProcess:
    """`vllm serve` in its own process group. Raises UserError if it does not start.

    Args:
        settings: the interpreter and options.
        folder: the model.
    """

    def __init__(self, settings: VLLMSettings, folder: Path) -> None:
        python = settings.python or sys.executable
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = [python, str(_LAUNCH), str(folder), "--served-model-name", "student", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--max-model-len", str(settings.longest), *settings.options]
        command += [SLEEP_OPTION] if settings.sleeps else []
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER_VARIABLES)}
        environment |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        self._log = tempfile.NamedTemporaryFile(prefix="opdkit-vllm-", suffix=".log", delete=False)  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command, env=environment, stdout=self._log, stderr=self._log, start_new_session=True
            )
        except OSError as error:
            Path(self._log.name).unlink()
            raise UserError(f"rollout.python={python!r} can't be started: {error.strerror}") from None
        self._keeps = False
        atexit.register(self.close)
        self._await(python)

    def ended(self) -> str | None:
        """The error in its log if it has exited by itself, None while it runs. Keeps the log if it has exited."""
        status = self._process.poll()
        if status is None:
            return None
        self._keeps = True
        return f"{self._cause()} (exit status {status}; its log: {self._log.name})"

    def close(self) -> None:
        """Stop the server and its child processes."""
        atexit.unregister(self.close)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
        self._log.close()
        if not self._keeps:
            Path(self._log.name).unlink(missing_ok=True)

    def _await(self, python: str) -> None:
        ends = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends:
            if (error := self.ended()) is not None:
                has_vllm = self._keeps = "No module named 'vllm'" not in error
                self.close()
                if not has_vllm:
                    raise UserError(
                        f"rollout.python: {python} has no vLLM; name an interpreter that has (pip install vllm, in an "
                        "environment of its own), or rollout.servers=[http://...]"
                    )
                raise UserError(f"rollout: vLLM did not start: {error}")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=5):
                return
            time.sleep(0.25)
        self.close()
        raise UserError(f"rollout: vLLM did not start within {_START_SECONDS:g} s")

    def _cause(self) -> str:
        text = Path(self._log.name).read_text(encoding="utf-8", errors="replace").split("\n")
        lines = [line for line in text if line.strip()] or ["it said nothing"]
        # The first exception is the cause; later ones are consequences.
        errors = [line for line in lines if _EXCEPTION.search(line) and not _WARNING.search(line)] or lines[-1:]
        return " ".join(errors[0].split())[:300]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
