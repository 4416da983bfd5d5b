"""Isolation of untrusted programs: bubblewrap namespaces, or resource limits only."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from opdkit.sandbox.seccomp import syscall_filter

Sandbox = Literal["bwrap", "process"]

_INSPECT = (
    "import json, os, sys, sysconfig; "
    "print(json.dumps([os.path.realpath(sys.executable), sys.base_prefix, list(sys.version_info[:2]), "
    "[sysconfig.get_path(kind) for kind in ('purelib', 'platlib')]]))"
)
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/etc/ld.so.cache", "/etc/alternatives")
_OLDEST = [3, 10]
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
_FIRST_USER = 0x7000_0000
"""User ids from here are unassigned, so that a program shares no processes or files with anyone."""


@dataclass(frozen=True)
class Interpreter:
    """The Python interpreter that runs programs.

    Attributes:
        executable: path of the executable.
        prefix: its `sys.base_prefix`.
        packages: site-packages folders that programs may import; empty for none.
    """

    executable: str
    prefix: str
    packages: tuple[str, ...] = ()

    @classmethod
    @functools.lru_cache(maxsize=4)
    def find(cls, path: str | None, packages: bool) -> Interpreter:
        """The interpreter at `path`, or the running one. Raises ValueError if it is not usable."""
        asked = shutil.which(Path(path).expanduser()) if path else sys.executable
        try:
            told = subprocess.run([asked or "", "-I", "-c", _INSPECT], capture_output=True, timeout=60, check=True)
            executable, prefix, version, folders = json.loads(told.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            raise ValueError(f"python={path}: not a Python interpreter") from None
        if version < _OLDEST:
            raise ValueError(f"python={path}: is Python {version[0]}.{version[1]}; allowed: 3.10 or newer")
        return cls(executable, prefix, tuple(dict.fromkeys(folders)) if packages else ())

    def command(self) -> list[str]:
        """Its command line up to the script: no site, user folders or bytecode."""
        return [self.executable, "-s", "-S", "-B", "-c"]


class Isolation(Protocol):
    """How a program is isolated. `writable`: folders that are made writable for its user."""

    @property
    def user(self) -> int | None:
        """The user id that the script switches to, None to keep the current one."""
        ...

    @property
    def writable(self) -> Sequence[str]: ...

    @property
    def pid_namespace(self) -> bool:
        """Whether programs have a PID namespace: their processes end with the first and are counted separately."""
        ...

    @property
    def filter(self) -> bytes | None:
        """The seccomp filter program, None for none."""
        ...

    def command(self, interpreter: Interpreter, files_mb: int, filter_file: int | None) -> list[str]:
        """The command prefix before the interpreter. filter_file: descriptor of a file that contains `filter`."""
        ...

    def environment(self, folder: str) -> dict[str, str]:
        """The program's full environment. folder: its working folder outside of the namespaces."""
        ...


@dataclass(frozen=True)
class Bubblewrap:
    """Bubblewrap namespaces: no network, no other processes, read-only access to only Python and the system libraries,
    and a writable tmpfs.

    Attributes:
        path: path of the bwrap executable.
        can_limit_files: whether it supports `--size`; without it nothing is writable.
        can_close_users: whether it supports `--disable-userns`.
        user: see `Isolation`. Required for root, since the kernel does not limit root's processes.
    """

    path: str
    can_limit_files: bool
    can_close_users: bool
    user: int | None

    @property
    def writable(self) -> Sequence[str]:
        return ["/tmp"] if self.can_limit_files else []

    @property
    def pid_namespace(self) -> bool:
        """See `Isolation`."""
        return True

    @property
    def filter(self) -> bytes | None:
        """See `Isolation`."""
        return syscall_filter()

    def command(self, interpreter: Interpreter, files_mb: int, filter_file: int | None) -> list[str]:
        """See `Isolation`."""
        words = [self.path, "--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        words += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
        if self.user is None:
            words += ["--unshare-user", *(["--disable-userns"] if self.can_close_users else [])]
        else:
            words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        for place in _SYSTEM:
            linked = Path(place).is_symlink()
            words += ["--symlink", str(Path(place).readlink()), place] if linked else ["--ro-bind-try", place, place]
        # Before the interpreter's folders, which may themselves be in /tmp.
        if self.can_limit_files:
            words += ["--size", str(max(1, files_mb) << 20), "--tmpfs", "/tmp"]
        else:
            words += ["--dir", "/tmp"]
        for folder in (interpreter.prefix, str(Path(interpreter.executable).parent), *interpreter.packages):
            if not Path(folder).is_relative_to("/usr"):
                for above in reversed(Path(folder).parents[:-1]):
                    words += ["--dir", str(above)]
                words += ["--ro-bind", folder, folder]
        words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        words += ["--seccomp", str(filter_file)] if filter_file is not None else []
        return [*words, "--remount-ro", "/", "--chdir", "/tmp", "--"]

    def environment(self, folder: str) -> dict[str, str]:
        """See `Isolation`."""
        return {**_ENVIRONMENT, "HOME": "/tmp"}


@dataclass(frozen=True)
class LimitsOnly:
    """Only resource limits, an empty environment and an empty folder. A hostile program can access its user's files."""

    user: int | None
    writable: Sequence[str] = ()

    @property
    def pid_namespace(self) -> bool:
        """See `Isolation`."""
        return False

    @property
    def filter(self) -> bytes | None:
        """See `Isolation`. Installed by the bootstrap script."""
        return syscall_filter()

    def command(self, interpreter: Interpreter, files_mb: int, filter_file: int | None) -> list[str]:
        """See `Isolation`."""
        return []

    def environment(self, folder: str) -> dict[str, str]:
        """See `Isolation`."""
        return {**_ENVIRONMENT, "HOME": folder, "TMPDIR": folder}


def open_isolation(sandbox: Sandbox) -> Isolation:
    """The isolation of that name for the current user. Raises ValueError if bwrap is missing."""
    user = None if os.getuid() else _FIRST_USER + os.getpid()
    if sandbox == "process":
        return LimitsOnly(user)
    path = shutil.which("bwrap")
    if path is None:
        raise ValueError("bwrap is not installed")
    options = _options_of(path)
    return Bubblewrap(path, "--size" in options, "--disable-userns" in options, user)


@functools.cache
def _options_of(bwrap: str) -> str:
    """The help text of a bubblewrap program, asked for once rather than for every judged program."""
    return subprocess.run([bwrap, "--help"], capture_output=True, timeout=60, check=False).stdout.decode()
