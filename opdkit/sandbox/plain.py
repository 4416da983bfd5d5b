"""Refuses values whose comparisons a program wrote itself.

Part of the script that starts a program in its sandbox (see `script`). Standard library alone.
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
