"""Runs assertions in a process without the program: calls are forwarded to the program's process.

Part of the bootstrap script in the sandbox (see `script`). Standard library only.
"""

import builtins
import json
import os

from opdkit.sandbox.wire import decode, encode, error_text, report_line


class UnsupportedError(BaseException):
    """An assertion passes an argument that can't be serialised, such as its own function."""


class Opaque:
    """Stand-in for a program value of a non-built-in type. It equals nothing else and has no behaviour."""

    def __init__(self, name):
        self.name = name


def examine(setup, report, answers, run=exec):
    """Runs each assertion and reports its result. The program is not loaded in this process."""
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
            result = {"held": True}
        except UnsupportedError:
            result = {"unsupported": True}
        except AssertionError as error:
            result = {"fault": "wrong_output", "detail": error_text(error)}
        except BaseException as error:
            result = {"fault": "runtime_error", "detail": error_text(error)}
        report_line(report, result)


def _proxy(name, report, line):
    def ask(*arguments, **named):
        sent = [encode(one, _cross) for one in arguments]
        by_name = {key: encode(one, _cross) for key, one in named.items()}
        report_line(report, {"call": name, "arguments": sent, "named": by_name})
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
        raise TypeError(f"{value.name} is not a built-in value")
    raise UnsupportedError


def _take_over(ours, theirs):
    """Applies a function's in-place changes to a list, dictionary or set argument."""
    if type(ours) is not type(theirs):
        return
    if isinstance(ours, list):
        ours[:] = theirs
    elif isinstance(ours, dict | set):
        ours.clear()
        ours.update(theirs)
