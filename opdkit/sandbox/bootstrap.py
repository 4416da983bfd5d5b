"""Bootstraps a program inside its sandbox: the last part of the bootstrap script (see `script`).

Its arguments are descriptors: the setup, the report pipe, the request pipe, and those of the mode. It sets the limits,
switches to the given unprivileged user, and continues in one of these modes:

    script   runs the program as `__main__`; its output is judged outside
    serve    calls its functions on request and reports their values, as JSON lines
    exam     runs assertions without the program, see `examine`
    checks   runs assertions after the program and reports those that hold, preceded by a token

Assertions are not read until the program has run, nor the token until the assertions have. Functions used later
are saved before, since the program may change any module. Standard library only.
"""

import builtins
import json
import os
import resource
import sys
from types import ModuleType

from opdkit.sandbox.examine import examine
from opdkit.sandbox.plain import plain_values
from opdkit.sandbox.wire import decode, encode, error_text, report_line, write_all


def confine(setup):
    """Irrevocably sets the limits and switches to the unprivileged user."""
    limits = setup["limits"]
    memory, files = limits["memory_mb"] << 20, limits["files_mb"] << 20
    for name, value in (
        ("RLIMIT_AS", memory),
        ("RLIMIT_FSIZE", files),
        ("RLIMIT_NOFILE", 64),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_CPU", setup["tests"] * limits["seconds"] + 1),
    ):
        kind = getattr(resource, name)
        allowed = resource.getrlimit(kind)[1]
        value = value if allowed == resource.RLIM_INFINITY else min(value, allowed)
        resource.setrlimit(kind, (value, value))
    grant_test_cpu(limits["seconds"])
    if setup["user"] is not None:
        for folder in setup["writable"]:
            os.chmod(folder, 0o1777)  # noqa: PTH101
        os.setgroups([])
        os.setresgid(*[setup["user"]] * 3)
        os.setresuid(*[setup["user"]] * 3)
    if setup["die_with_parent"]:
        protect_without_bwrap(bytes.fromhex(setup["filter"]))


def protect_without_bwrap(lines):
    """Sets the parent-death signal and the seccomp filter, as bubblewrap does otherwise. A kernel may lack seccomp."""
    import ctypes

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    control = ctypes.CDLL(None).prctl
    control(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL
    control(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if lines:
        control(22, 2, ctypes.byref(Program(len(lines) // 8, lines)), 0, 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def grant_test_cpu(seconds):
    """Grants the next test `seconds` of CPU time, in whole seconds like the kernel's limit."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(spent + seconds, hard), hard))


def fault(report, name, error):
    """Reports why the program failed."""
    report_line(report, {"fault": name, "detail": error_text(error)})


def load(setup, report, run=exec):
    """Runs the program; its namespace, or None on failure."""
    name = "__main__" if setup["mode"] == "script" else "solution"
    module = ModuleType(name)
    sys.modules[name] = module
    sys.path[:] = [entry for entry in sys.path if entry] + setup["packages"]
    sys.argv[:] = ["solution.py"]
    try:
        code = compile(setup["program"], "solution.py", "exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        fault(report, "syntax_error", error)
        return None
    if setup["prelude"]:
        run(compile(setup["prelude"], "prelude.py", "exec"), vars(module))
    try:
        run(code, vars(module))
        for text in setup["setup"]:
            run(compile(text, "setup.py", "exec"), vars(module))
    except SystemExit as error:
        if setup["mode"] == "script":
            raise
        fault(report, "runtime_error", error)
        return None
    except BaseException as error:
        fault(report, "runtime_error", error)
        return None
    return vars(module)


def serve(setup, names, report, requests):
    """Serves call requests."""
    solution = None
    with open(requests, "rb") as lines:  # noqa: PTH123
        for line in lines:
            grant_test_cpu(setup["limits"]["seconds"])
            try:
                request = json.loads(line)
                found = names.get(request["call"])
                if found is None and "Solution" in names:
                    solution = solution or names["Solution"]()
                    found = getattr(solution, request["call"])
                if found is None:
                    raise NameError(f"no function {request['call']}")
                arguments = [decode(one) for one in request["arguments"]]
                named = {name: decode(one) for name, one in request.get("named", {}).items()}
                reply = {"value": encode(found(*arguments, **named))}
                after = [encode(one) for one in arguments]
                if after != request["arguments"]:
                    reply["arguments"] = after
            except BaseException as error:
                reply = {"raised": type(error).__name__, "detail": error_text(error)}
            report_line(report, reply)


def checks(setup, names, report, descriptors, held):
    """Runs each assertion; finally reports the token and the numbers of those that held."""
    run, make, write, read, plain, own_builtins = held
    tests, token = descriptors
    own = {name: value for name, value in names.items() if name not in own_builtins or name == setup["function"]}
    space = {**own, "__builtins__": own_builtins, "__plain__": plain}
    passed = b""
    for number, source in enumerate(read(tests).split(b"\0")):
        grant_test_cpu(setup["limits"]["seconds"])
        try:
            run(make(source, "tests.py", "exec"), space)
        except AssertionError as error:
            fault(report, "wrong_output", error)
        except BaseException as error:
            fault(report, "runtime_error", error)
        else:
            passed += b" %d" % number
    write_all(report, read(token) + passed + b"\n", write)


def read_all(descriptor, read=os.read):
    text = b""
    while part := read(descriptor, 1 << 20):
        text += part
    return text


def main():
    source, report, requests, *secret = map(int, sys.argv[1:])
    with open(source, "rb") as file:  # noqa: PTH123
        setup = json.load(file)
    confine(setup)
    if setup["mode"] == "exam":
        examine(setup, report, requests)
        os._exit(0)
    held = (exec, compile, os.write, read_all, plain_values(), dict(vars(builtins)))
    names = load(setup, report)
    if names is None:
        os._exit(1)
    if setup["mode"] == "serve":
        serve(setup, names, report, requests)
    elif setup["mode"] == "checks":
        checks(setup, names, report, secret, held)
    if setup["mode"] != "script":
        os._exit(0)


if __name__ == "__main__":
    main()
