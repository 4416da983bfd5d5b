"""Checks for the optional packages of an extra without importing them."""

from __future__ import annotations

import importlib.util

from opdkit.errors import UserError


class PackageMissingError(UserError):
    """A package of an extra is not installed."""


def need_package(module: str, extra: str) -> None:
    """Raises PackageMissingError with the install command if `module` is missing."""
    if importlib.util.find_spec(module) is None:
        raise PackageMissingError(f"{extra} is not installed: pip install 'opdkit[{extra}]'")
