"""Runs assertions in a process without the program: what they call asks the program's process, and values come back.

Part of the script that starts a program in its sandbox (see `script`). Standard library alone.
"""

import builtins
import json
import os

from opdkit.sandbox.wire import decode, encode


class UnsupportedError(BaseException):
    """An assertion hands over what can't cross to another process, such as a function of its own."""


class Opaque:
    """A value of the program's that is none of Python's own. It equals nothing else, and can do nothing."""

    def __init__(self, name):
        self.name = name


def examine(setup, report, answers, run=exec):
    """Run each assertion, and report whether it held. Nothing of the program is in this process."""
    pending = bytearray()

    def line():
        while (end := pending.find(b"\n")) < 0:
            part = os.read(answers, 1 << 20)
            if not part:
                os._exit(1)
            pending.extend(part)
        found = bytes(pending[:end])
        del pending[: end + 1]
        return found

    space = {"__name__": "tests", "__plain__": lambda value: value}
    for text in (setup["prelude"], *setup["setup"]):
        run(compile(text, "setup.py", "exec"), space)
    for name in setup["names"]:
        space[name] = _proxy(name, report, line)
    for source in setup["exams"]:
        try:
            run(compile(source, "tests.py", "exec"), space)
            told = {"held": True}
        except UnsupportedError:
            told = {"unsupported": True}
        except AssertionError as error:
            told = {"fault": "wrong_output", "detail": f"AssertionError: {error}"[:200]}
        except BaseException as error:
            told = {"fault": "runtime_error", "detail": f"{type(error).__name__}: {error}"[:200]}
        _write(report, told)


def _proxy(name, report, line):
    def ask(*arguments, **named):
        sent = [encode(one, _cross) for one in arguments]
        by_name = {key: encode(one, _cross) for key, one in named.items()}
        _write(report, {"call": name, "arguments": sent, "named": by_name})
        reply = json.loads(line())
        if "raised" in reply:
            kind = getattr(builtins, str(reply["raised"]), RuntimeError)
            if not isinstance(kind, type) or not issubclass(kind, Exception):
                kind = RuntimeError
            raise kind(str(reply.get("detail")).partition(": ")[2])
        for ours, theirs in zip(arguments, reply.get("arguments") or (), strict=False):
            _take_over(ours, decode(theirs, Opaque))
        return decode(reply["value"], Opaque)

    return ask


def _cross(value):
    if isinstance(value, Opaque):
        raise TypeError(f"{value.name} is none of Python's own values")
    raise UnsupportedError


def _take_over(ours, theirs):
    """What a function did to a list, a dictionary or a set that it was given."""
    if type(ours) is not type(theirs):
        return
    if isinstance(ours, list):
        ours[:] = theirs
    elif isinstance(ours, dict | set):
        ours.clear()
        ours.update(theirs)


def _write(report, told):
    data = json.dumps(told).encode() + b"\n"
    while data:
        data = data[os.write(report, data) :]
