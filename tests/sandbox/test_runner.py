"""What a hostile program does to the machine: nothing. Every attack is a process that really runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from opdkit.errors import UserError
from opdkit.sandbox.isolation import Interpreter, open_isolation
from opdkit.sandbox.launch import Job
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.linux import become_subreaper
from opdkit.sandbox.probe import isolation_failure
from opdkit.sandbox.runner import ProcessResult, Runner
from tests.sandbox import attacks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs run only on Linux")
LIMITS = Limits(seconds=1, memory_mb=256, processes=8, files_mb=8)
SYSTEM = "/usr/bin/python3"  # which every user may read


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder in /tmp that every user may read, unlike tmp_path."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def runners() -> list[object]:
    found: list[object] = []
    for sandbox, python in (("bwrap", None), ("process", SYSTEM if os.getuid() == 0 else None)):
        try:
            refused = isolation_failure(Runner(open_isolation(sandbox), Interpreter.find(python, False), LIMITS))
        except ValueError as error:
            refused = str(error)
        mark = pytest.mark.skip(reason=refused) if refused else ()
        found.append(pytest.param((sandbox, python), id=f"{sandbox} {python or ''}".strip(), marks=mark))
    return found


RUNNERS = runners()


@pytest.fixture(autouse=True, scope="module")
def orphans() -> Iterator[None]:
    become_subreaper()
    yield
    ctypes.CDLL(None).prctl(36, 0, 0, 0, 0)  # other tests' orphans are not ours


@pytest.fixture(params=RUNNERS)
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    sandbox, python = request.param
    before = set(psutil.Process().children(recursive=True))
    yield Runner(open_isolation(sandbox), Interpreter.find(python, False), LIMITS)
    until = time.monotonic() + 2
    while left := set(psutil.Process().children(recursive=True)) - before:
        assert time.monotonic() < until, f"something was left running: {left}"
        with contextlib.suppress(ChildProcessError):  # adopted by this process
            os.waitpid(-1, os.WNOHANG)


def run(runner: Runner, program: str, stdin: bytes = b"") -> ProcessResult:
    return runner.run(Job({"mode": "script", "program": program}, stdin=stdin))


def test_a_program_reads_and_prints(runner: Runner) -> None:
    assert run(runner, "print(input()[::-1])", b"abc\n").output == b"cba\n"
    assert run(runner, "import sys; print(len(sys.stdin.read()))", b"x" * 300_000).output == b"300000\n"
    assert run(runner, "import sys; sys.exit(3)").status == 3
    threads = "import threading\nt = threading.Thread(target=print, args=('in a thread',))\nt.start()"
    assert run(runner, threads).output == b"in a thread\n"


ENDLESS = {
    "a loop": ("while True: pass", ("exit", 128 + 24)),
    "printing": ("while True: print('x' * 1000)", ("output_limit", None)),
    "shouting": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", ("exit", 128 + 24)),
    "a stubborn loop": (attacks.STUBBORN, ("exit", 128 + 9)),
}


@pytest.mark.parametrize("attack", ENDLESS)
def test_what_has_no_end_is_ended(runner: Runner, attack: str) -> None:
    if not runner.isolation.pid_namespace and attack in ("a loop", "shouting"):
        pytest.skip("the stubborn loop says as much, in less time")
    program, (reason, status) = ENDLESS[attack]
    started = time.monotonic()
    ended = run(runner, program)
    if ended.reason != "time_limit":  # by the clock, on a machine that is busy with other things
        assert ended.reason == reason
        assert status in (None, ended.status)
    assert len(ended.output) < 1 << 18
    assert time.monotonic() - started < 2 * LIMITS.wall_seconds


def test_what_sleeps_is_ended_by_the_clock(monkeypatch: pytest.MonkeyPatch, runner: Runner) -> None:
    assert run(runner, "import sys\nsys.stdin.read()\ninput()").status == 1  # there is an end to what can be read
    monkeypatch.setattr(Limits, "wall_seconds", 0.5)
    assert run(runner, "import time; time.sleep(60)").reason == "time_limit"


def test_memory_is_bounded(runner: Runner) -> None:
    assert run(runner, attacks.TOO_MUCH_AT_ONCE).output == b"MemoryError\n"
    assert run(runner, attacks.TOO_MUCH_TOGETHER).reason == "memory_limit"


def test_a_fork_bomb_is_bounded(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert int(run(runner, attacks.CHILDREN).output) < 2 * LIMITS.processes
    monkeypatch.setattr(Limits, "wall_seconds", 1.0)
    for bomb in (attacks.FORK_BOMB, attacks.FLEEING_BOMB):
        started = time.monotonic()
        run(runner, bomb)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("leave", ["os.setsid()", "pass"])
def test_no_daemon_stays_behind(runner: Runner, leave: str) -> None:
    assert run(runner, attacks.DAEMON.replace("LEAVE", leave)).output == b"started\n"  # and the fixture looks


def test_files_are_bounded_and_go(runner: Runner, readable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(readable))
    assert run(runner, "open('a', 'wb').write(bytes(1 << 30))").status != 0
    assert run(runner, "import os\nopen('a', 'w').write('x')\nprint(os.listdir('.'))").output == b"['a']\n"
    assert run(runner, "import os\nprint(os.listdir('.'))").output == b"[]\n"
    assert list(readable.iterdir()) == []


def test_no_secret_is_there(monkeypatch: pytest.MonkeyPatch, runner: Runner) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = run(runner, attacks.LOOKING_FOR_SECRETS).output.decode()
    assert "PATH" in seen
    assert "hf_secret" not in seen
    assert b"written" not in run(runner, attacks.WRITING_ELSEWHERE, b"stdin").output


def test_limits_stay_where_they_are(runner: Runner) -> None:
    assert run(runner, attacks.RAISING_LIMITS).output == b"tried\n"
    if os.getuid() == 0:
        assert run(runner, attacks.BECOMING_ROOT).output == b"tried\n"


def test_calls_that_no_program_needs_are_refused(runner: Runner) -> None:
    if runner.isolation.filter is None:
        pytest.skip("the numbers of this machine's system calls are not known")
    assert run(runner, attacks.OTHER_CALLS).output == b"tried\n"


def test_behind_a_wall_there_is_nothing(tmp_path: Path, runner: Runner) -> None:
    if not runner.isolation.pid_namespace:
        pytest.skip("limits alone are no isolation")
    (tmp_path / "notes").write_text("mine")
    own = (
        f"open({str(tmp_path / 'notes')!r}).read()",
        f"open({str(tmp_path / 'new')!r}, 'w').write('x')",
        f"import os; os.listdir({str(Path.cwd())!r})",
        f"import os; os.kill({os.getpid()}, 9)",
    )
    for program in (*own, *attacks.OUT_OF_BOUNDS):
        assert run(runner, program).status != 0, program
    assert not (tmp_path / "new").exists()


def runs_on(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_program_ends_with_who_runs_it(runner: Runner, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    sandbox, python = request.node.callspec.params["runner"]
    runs = (
        "from opdkit.sandbox.runner import *; from opdkit.sandbox.launch import *\n"
        "from opdkit.sandbox.isolation import *\n"
        f"runner = Runner(open_isolation({sandbox!r}), Interpreter.find({python!r}, False), Limits())\n"
        "runner.run(Job({'mode': 'script', 'program': 'import time; time.sleep(60)'}))"
    )
    with subprocess.Popen([sys.executable, "-c", runs], env=os.environ | {"TMPDIR": str(tmp_path)}) as judge:
        processes = list[psutil.Process]()
        until = time.monotonic() + 20
        while time.monotonic() < until and not any("python" in one.name() for one in processes):
            time.sleep(0.05)
            processes = psutil.Process(judge.pid).children(recursive=True)
        time.sleep(0.3)
        judge.kill()
    assert processes
    until = time.monotonic() + 5
    while any(map(runs_on, processes)):
        assert time.monotonic() < until, processes
        time.sleep(0.05)


def test_what_does_not_hold_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="bwrap is not installed"):
        open_isolation("bwrap")
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    found = isolation_failure(Runner(open_isolation("bwrap"), Interpreter.find(sys.executable, False), LIMITS))
    assert found == "bwrap does not start: setting up uid map: Permission denied"
    pretender = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    fake.write_text(pretender)
    if os.getuid() == 0:  # it starts, and keeps nothing in
        runner = Runner(
            open_isolation("bwrap"), Interpreter.find(SYSTEM if Path(SYSTEM).exists() else None, False), LIMITS
        )
        assert "the network is reachable" in str(isolation_failure(runner)) or "other processes are visible" in str(
            isolation_failure(runner)
        )


def test_interpreters() -> None:
    with pytest.raises(ValueError, match="python=/bin/true: not a Python interpreter"):
        Interpreter.find("/bin/true", False)
    with pytest.raises(ValueError, match="python=nowhere: not a Python interpreter"):
        Interpreter.find("nowhere", False)
    with pytest.raises(UserError, match=r"seconds=0; allowed: 1 to 600"):
        Limits(seconds=0)


def test_packages_are_there_when_asked_for() -> None:
    if shutil.which("bwrap") is None or isolation_failure(
        Runner(open_isolation("bwrap"), Interpreter.find(None, False), LIMITS)
    ):
        pytest.skip("needs bubblewrap")
    program = "import numpy\nprint(numpy.arange(3).sum())"
    wide = Limits(seconds=5)
    assert run(Runner(open_isolation("bwrap"), Interpreter.find(None, True), wide), program).output == b"3\n"
    assert run(Runner(open_isolation("bwrap"), Interpreter.find(None, False), wide), program).status == 1


def test_packages_in_the_temporary_directory_are_there_too(readable: Path) -> None:
    """Where a test environment often is. The sandbox's own /tmp must not cover it."""
    if shutil.which("bwrap") is None or isolation_failure(
        Runner(open_isolation("bwrap"), Interpreter.find(None, False), LIMITS)
    ):
        pytest.skip("needs bubblewrap")
    (readable / "own.py").write_text("value = 3")
    interpreter = replace(Interpreter.find(None, False), packages=(str(readable),))
    program = "import own\nopen('/tmp/written', 'w').close()\nprint(own.value)"
    assert run(Runner(open_isolation("bwrap"), interpreter, LIMITS), program).output == b"3\n"
