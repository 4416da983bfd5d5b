"""Serialises built-in Python values as JSON and reports them, for comparison in another process.

Part of the bootstrap script in the sandbox (see `script`), and also used outside of it. Standard library only.
"""

import json
import os

_DEEPEST = 100
_LONGEST_TEXT = 200


def write_all(descriptor, data, write=os.write):
    """Writes all of `data`."""
    while data:
        data = data[write(descriptor, data) :]


def report_line(descriptor, message):
    """Writes a message as one JSON line."""
    write_all(descriptor, json.dumps(message).encode() + b"\n")


def error_text(error):
    """An error's type and text. Formatting a hostile error may run arbitrary code."""
    try:
        return f"{type(error).__name__}: {error}"[:_LONGEST_TEXT]
    except BaseException:
        return "an error without text"


def placeholder(value):
    """Placeholder for a value of a non-built-in type, which equals nothing."""
    return {"other": f"a {type(value).__name__}"[:_LONGEST_TEXT]}


def refused(name):
    """Raises ValueError, where no placeholder is allowed."""
    raise ValueError(f"{name} is not a built-in value")


def encode(value, other=placeholder, depth=0):
    """A value as JSON that distinguishes tuples, sets and number types. other: encodes values of other types."""
    if depth > _DEEPEST:
        raise ValueError("nested too deep")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {"dict": [[encode(one, other, depth + 1) for one in item] for item in value.items()]}
    if isinstance(value, list | tuple | set | frozenset):
        entries = [encode(one, other, depth + 1) for one in value]
        if isinstance(value, list):
            return entries
        return {"tuple" if isinstance(value, tuple) else "set": entries}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    name = f"{type(value).__module__}.{type(value).__name__}"
    if name == "fractions.Fraction":
        return {"fraction": [int(value.numerator), int(value.denominator)]}
    if name == "decimal.Decimal":
        return {"decimal": str(value)}
    return other(value)


def decode(value, other=refused):
    """The inverse of `encode`. Raises ValueError, TypeError or KeyError for anything else."""
    if isinstance(value, list):
        return [decode(one, other) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "dict":
        return {decode(key, other): decode(one, other) for key, one in inner}
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "complex":
        return complex(*inner)
    if kind in ("fraction", "decimal"):  # loaded late: most programs need neither
        import decimal
        import fractions

        return fractions.Fraction(*inner) if kind == "fraction" else decimal.Decimal(inner)
    if kind == "other":
        return other(inner)
    return {"tuple": tuple, "set": set}[kind](decode(one, other) for one in inner)
