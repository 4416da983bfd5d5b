"""Rejects values with operators defined by the program.

Part of the bootstrap script in the sandbox (see `script`). Standard library only.
"""

import sys

_MOST = 1_000_000
OPERATORS = (
    "eq", "ne", "lt", "le", "gt", "ge", "bool", "len", "iter", "contains", "getitem", "hash", "abs", "round",
    "neg", "pos", "invert", "int", "float", "index", "complex", "add", "radd", "sub", "rsub", "mul", "rmul",
    "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "and", "or", "xor", "rand",
    "ror", "rxor", "getattr", "getattribute",
)  # fmt: skip


def plain_values():
    """A function that rejects values with operators defined by the program, such as one equal to everything."""
    operators = {f"__{name}__" for name in OPERATORS}
    known, modules, containers = frozenset(sys.stdlib_module_names), sys.modules, (list, tuple, set, frozenset)

    def trusted(kind):
        if not type.__dict__["__flags__"].__get__(kind) & (1 << 9):  # not a heap type (a class created at run time)
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
                raise AssertionError("a value whose class has its own metaclass")
            for base in type.__dict__["__mro__"].__get__(kind):
                if not trusted(base) and operators & set(type.__dict__["__dict__"].__get__(base)):
                    raise AssertionError("a value whose class overrides operators")
            if seen < _MOST and isinstance(one, containers):
                pending.extend(one)
            elif seen < _MOST and isinstance(one, dict):
                pending.extend(one.keys())
                pending.extend(one.values())
        return value

    return plain
