"""What stands between a program and the machine: bubblewrap's namespaces, or limits alone."""

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

from opdkit.sandbox.filters import call_filter

Sandbox = Literal["bwrap", "process"]

_QUESTION = (
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
"""Users from here on belong to nobody, so that a program shares its processes and files with none."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that runs programs.

    Attributes:
        executable: its file.
        prefix: the folder of its standard library.
        packages: folders of the packages that programs may import; empty for none.
    """

    executable: str
    prefix: str
    packages: tuple[str, ...] = ()

    @classmethod
    @functools.lru_cache(maxsize=4)
    def find(cls, path: str | None, packages: bool) -> Interpreter:
        """The interpreter at `path`, or this one. Raises ValueError with a line for what is none."""
        asked = shutil.which(Path(path).expanduser()) if path else sys.executable
        try:
            told = subprocess.run([asked or "", "-I", "-c", _QUESTION], capture_output=True, timeout=60, check=True)
            executable, prefix, version, folders = json.loads(told.stdout)
        except (OSError, ValueError, subprocess.SubprocessError):
            raise ValueError(f"python={path}: is no Python interpreter") from None
        if version < _OLDEST:
            raise ValueError(f"python={path}: is Python {version[0]}.{version[1]}; allowed: 3.10 or newer")
        return cls(executable, prefix, tuple(dict.fromkeys(folders)) if packages else ())

    def command(self) -> list[str]:
        """Its command line up to the script: no site, no user folders, no bytecode."""
        return [self.executable, "-s", "-S", "-B", "-c"]


class Wall(Protocol):
    """How a program is started. `writable`: folders that the starting script opens to the program's user."""

    @property
    def user(self) -> int | None:
        """The user that the script becomes; None where it stays who it is."""
        ...

    @property
    def writable(self) -> Sequence[str]: ...

    @property
    def encloses(self) -> bool:
        """Whether the kernel ends all of a program's processes with its first one, and counts them alone."""
        ...

    @property
    def filter(self) -> bytes | None:
        """The kernel's filter of system calls, None for none."""
        ...

    def command(self, interpreter: Interpreter, files_mb: int, filter_file: int | None) -> list[str]:
        """The command line in front of the interpreter's. filter_file: a descriptor of a file that holds `filter`."""
        ...

    def environment(self, folder: str) -> dict[str, str]:
        """All of the program's environment. folder: its own, outside of the wall."""
        ...


@dataclass(frozen=True)
class Bubblewrap:
    """Namespaces of its own: no network, no other processes, nothing of the file system but Python and the system's
    libraries to be read, and a folder in memory to be written.

    Attributes:
        path: bubblewrap's program.
        can_limit_files: whether it knows `--size`; without it nothing can be written.
        can_close_users: whether it knows `--disable-userns`.
        user: see `Wall`. Root needs one, for the kernel does not count root's processes.
    """

    path: str
    can_limit_files: bool
    can_close_users: bool
    user: int | None

    @property
    def writable(self) -> Sequence[str]:
        return ["/tmp"] if self.can_limit_files else []

    @property
    def encloses(self) -> bool:
        """See `Wall`."""
        return True

    @property
    def filter(self) -> bytes | None:
        """See `Wall`."""
        return call_filter()

    def command(self, interpreter: Interpreter, files_mb: int, filter_file: int | None) -> list[str]:
        """See `Wall`."""
        words = [self.path, "--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        words += ["--unshare-cgroup-try", "--cap-drop", "ALL"]
        if self.user is None:
            words += ["--unshare-user", *(["--disable-userns"] if self.can_close_users else [])]
        else:
            words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        for place in _SYSTEM:
            linked = Path(place).is_symlink()
            words += ["--symlink", str(Path(place).readlink()), place] if linked else ["--ro-bind-try", place, place]
        for folder in (interpreter.prefix, str(Path(interpreter.executable).parent), *interpreter.packages):
            if not Path(folder).is_relative_to("/usr"):
                for above in reversed(Path(folder).parents[:-1]):
                    words += ["--dir", str(above)]
                words += ["--ro-bind", folder, folder]
        words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        if self.can_limit_files:
            words += ["--size", str(max(1, files_mb) << 20), "--tmpfs", "/tmp"]
        else:
            words += ["--dir", "/tmp"]
        words += ["--seccomp", str(filter_file)] if filter_file is not None else []
        return [*words, "--remount-ro", "/", "--chdir", "/tmp", "--"]

    def environment(self, folder: str) -> dict[str, str]:
        """See `Wall`."""
        return {**_ENVIRONMENT, "HOME": "/tmp"}


@dataclass(frozen=True)
class LimitsOnly:
    """No wall: limits, an empty environment, an empty folder. A hostile program reads and writes what its user may."""

    user: int | None
    writable: Sequence[str] = ()

    @property
    def encloses(self) -> bool:
        """See `Wall`."""
        return False

    @property
    def filter(self) -> bytes | None:
        """See `Wall`. The starting script takes it on."""
        return call_filter()

    def command(self, interpreter: Interpreter, files_mb: int, filter_file: int | None) -> list[str]:
        """See `Wall`."""
        return []

    def environment(self, folder: str) -> dict[str, str]:
        """See `Wall`."""
        return {**_ENVIRONMENT, "HOME": folder, "TMPDIR": folder}


def open_wall(sandbox: Sandbox) -> Wall:
    """The wall of that name for this process's user. Raises ValueError where its program is missing."""
    user = None if os.getuid() else _FIRST_USER + os.getpid()
    if sandbox == "process":
        return LimitsOnly(user)
    path = shutil.which("bwrap")
    if path is None:
        raise ValueError("no bwrap is installed")
    known = subprocess.run([path, "--help"], capture_output=True, timeout=60, check=False).stdout.decode()
    return Bubblewrap(path, "--size" in known, "--disable-userns" in known, user)
