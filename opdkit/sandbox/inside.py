"""The script that starts a program inside its sandbox: `python -c <this text> <setup> <report> [<tests> <token>]`.

The arguments are descriptors. It takes on the limits, becomes the unprivileged user that it is told, and runs the
program in one of three modes:

    script   as `__main__`; what it prints is judged outside
    calls    its function is called with each list of arguments, and the results are reported as JSON lines
    checks   assertions are run after it, and those that held are reported behind a token

Assertions stay unread until the program's own lines have run, and the token until the assertions have. What this
script uses afterwards it holds itself, for the program may have changed any module. Standard library alone.
"""

import builtins
import json
import os
import resource
import sys
from types import ModuleType

_DEEPEST = 100
_MOST = 1_000_000
_LONGEST_DETAIL = 200
OPERATORS = (
    "eq", "ne", "lt", "le", "gt", "ge", "bool", "len", "iter", "contains", "getitem", "hash", "abs", "round",
    "neg", "pos", "invert", "int", "float", "index", "complex", "add", "radd", "sub", "rsub", "mul", "rmul",
    "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "and", "or", "xor", "rand",
    "ror", "rxor", "getattr", "getattribute",
)  # fmt: skip


def confine(setup):
    """Take on limits and the unprivileged user, for good."""
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
    cpu_for_one_more(limits["seconds"])
    if setup["user"] is not None:
        for folder in setup["writable"]:
            os.chmod(folder, 0o1777)  # noqa: PTH101
        os.setgroups([])
        os.setresgid(*[setup["user"]] * 3)
        os.setresuid(*[setup["user"]] * 3)
    if setup["parent_ends_it"]:
        import ctypes

        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL


def cpu_for_one_more(seconds):
    """Give the next test `seconds` of CPU time, whole ones: the kernel counts no finer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (min(spent + seconds, hard), hard))


def fault(report, name, error):
    """Report why the program is of no use. A hostile error may do anything when it is asked for its text."""
    try:
        detail = f"{type(error).__name__}: {error}"[:_LONGEST_DETAIL]
    except BaseException:
        detail = "an error without a text"
    write_all(report, json.dumps({"fault": name, "detail": detail}).encode() + b"\n")


def write_all(descriptor, data, write=os.write):
    while data:
        data = data[write(descriptor, data) :]


def encode(value, depth=0):
    """A value as JSON that tells tuples, sets and numbers apart. What is none of Python's own values equals nothing."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [encode(one, depth + 1) for one in value]
    if isinstance(value, tuple):
        return {"tuple": [encode(one, depth + 1) for one in value]}
    if isinstance(value, set | frozenset):
        return {"set": [encode(one, depth + 1) for one in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key, depth + 1), encode(one, depth + 1)] for key, one in value.items()]}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    return {"other": f"a {type(value).__name__}"[:_LONGEST_DETAIL]}


def decode(value):
    """What `encode` made, back."""
    if isinstance(value, list):
        return [decode(one) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "dict":
        return {decode(key): decode(one) for key, one in inner}
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "complex":
        return complex(*inner)
    return {"tuple": tuple, "set": set}[kind](decode(one) for one in inner)


def plain_values():
    """What refuses values whose comparisons the program wrote itself, such as one that is equal to everything."""
    operators = {f"__{name}__" for name in OPERATORS}
    known, modules, containers = frozenset(sys.stdlib_module_names), sys.modules, (list, tuple, set, frozenset)

    def trusted(kind):
        if not type.__dict__["__flags__"].__get__(kind) & (1 << 9):  # no class of Python code, nor one made at run time
            return True
        name = type.__dict__["__module__"].__get__(kind)
        home = modules.get(name) if name.partition(".")[0] in known else None
        return home is not None and vars(home).get(type.__dict__["__name__"].__get__(kind)) is kind

    def plain(value):
        pending, seen = [value], 0
        while pending:
            one = pending.pop()
            seen += 1
            kind = type(one)
            if type(kind) is not type and not trusted(type(kind)):
                raise AssertionError("a value of a class with a metaclass of its own")
            for base in type.__dict__["__mro__"].__get__(kind):
                if not trusted(base) and operators & set(type.__dict__["__dict__"].__get__(base)):
                    raise AssertionError("a value of a class that compares as it likes")
            if seen < _MOST and isinstance(one, containers):
                pending.extend(one)
            elif seen < _MOST and isinstance(one, dict):
                pending.extend(one.keys())
                pending.extend(one.values())
        return value

    return plain


def load(setup, report, run=exec):
    """The program's namespace after its own lines have run, or None."""
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


def calls(setup, names, report):
    """Report the result of each call."""
    try:
        found = names.get(setup["function"])
        if found is None and "Solution" in names:
            found = getattr(names["Solution"](), setup["function"])
        if found is None:
            raise NameError(f"no function {setup['function']}")
        for arguments in setup["calls"]:
            cpu_for_one_more(setup["limits"]["seconds"])
            value = encode(found(*[decode(one) for one in arguments]))
            write_all(report, json.dumps({"value": value}).encode() + b"\n")
    except BaseException as error:
        fault(report, "runtime_error", error)


def checks(setup, names, report, descriptors, held):
    """Run each assertion; at the end report the token with the numbers of those that held."""
    run, make, write, read, plain, own_builtins = held
    tests, token = descriptors
    own = {name: value for name, value in names.items() if name not in own_builtins or name == setup["function"]}
    space = {**own, "__builtins__": own_builtins, "__plain__": plain}
    passed = b""
    for number, source in enumerate(read(tests).split(b"\0")):
        cpu_for_one_more(setup["limits"]["seconds"])
        try:
            run(make(source, "tests.py", "exec"), space)
        except AssertionError as error:
            fault(report, "wrong_output", error)
        except BaseException as error:
            fault(report, "runtime_error", error)
        else:
            passed += b" %d" % number
            write_all(report, b'{"going": true}\n', write)
    write_all(report, read(token) + passed + b"\n", write)


def read_all(descriptor, read=os.read):
    text = b""
    while part := read(descriptor, 1 << 20):
        text += part
    return text


def main():
    source, report, *descriptors = map(int, sys.argv[1:])
    with open(source, "rb") as file:  # noqa: PTH123
        setup = json.load(file)
    confine(setup)
    held = (exec, compile, os.write, read_all, plain_values(), dict(vars(builtins)))
    names = load(setup, report)
    if names is None:
        os._exit(1)
    if setup["mode"] == "calls":
        calls(setup, names, report)
    elif setup["mode"] == "checks":
        checks(setup, names, report, descriptors, held)
    if setup["mode"] != "script":
        os._exit(0)


if __name__ == "__main__":
    main()
