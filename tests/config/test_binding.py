"""A group is checked against its target's signature, and the target is never called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from opdkit.config.binding import bind
from opdkit.errors import UserError

HERE = f"{__name__}."


@dataclass(frozen=True)
class Inner:
    depth: int = 1

    def __post_init__(self) -> None:
        raise AssertionError("built while it was only to be checked")


@dataclass(frozen=True)
class Target:
    needed: int
    ratio: float = 0.5
    name: str | None = None
    kind: Literal["plain", "fancy"] = "plain"
    flag: bool = False
    pair: tuple[float, float] = (0.0, 1.0)
    names: Sequence[str] = ()
    columns: Mapping[str, str] | None = None
    inner: Inner | None = None
    anything: Any = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        raise AssertionError("built while it was only to be checked")


class NotATarget:
    attribute = 3


def node(**values: Any) -> dict[str, Any]:
    return {"_target_": f"{HERE}Target", "needed": 1, **values}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ratio": 1},
        {"name": None},
        {"name": "x", "kind": "fancy", "flag": True, "pair": [0, 1.5], "names": ["a"], "columns": {"a": "b"}},
        {"inner": None},
        {"inner": {"_target_": f"{HERE}Inner", "depth": 2}},
        {"anything": "text"},
        {"anything": [{"x": 1}]},
        {"folder": "a/b"},
    ],
)
def test_fits(values: dict[str, Any]) -> None:
    bind("group", node(**values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nedeed": 1}, r"group\.nedeed: no such key in Target; allowed: .*\(did you mean needed\?\)"),
        ({"needed": 1.5}, r"group\.needed=1\.5: must be a whole number"),
        ({"needed": True}, r"group\.needed=true: must be a whole number"),
        ({"needed": "???"}, r"group\.needed: no value; give group\.needed="),
        ({"ratio": "half"}, r"group\.ratio=half: must be a number"),
        ({"ratio": None}, r"group\.ratio=null: must be a number"),
        ({"name": 3}, r"group\.name=3: must be a text or null"),
        ({"kind": "fanci"}, r"group\.kind=fanci: must be one of plain, fancy \(did you mean fancy\?\)"),
        ({"flag": 1}, r"group\.flag=1: must be true or false"),
        ({"pair": [1]}, r"group\.pair=\[1\]: must be a list of 2: a number, a number"),
        ({"pair": "ab"}, r"group\.pair=ab: must be a list of 2"),
        ({"names": ["a", 1]}, r"group\.names=.*: must be a list, each a text"),
        ({"names": "abc"}, r"group\.names=abc: must be a list"),
        ({"columns": ["a"]}, r"group\.columns=.*: must be a mapping or null"),
        ({"inner": "deep"}, r"group\.inner=deep: must be an object with a _target_ \(Inner\) or null"),
        ({"inner": {"_target_": f"{HERE}Inner", "dept": 2}}, r"group\.inner\.dept: no such key in Inner"),
        ({"inner": {"_target_": f"{HERE}Inner", "depth": "x"}}, r"group\.inner\.depth=x: must be a whole number"),
        ({"anything": [{"_target_": f"{HERE}Inner", "d": 1}]}, r"group\.anything\.0\.d: no such key in Inner"),
        ({"_target_": f"{HERE}Traget"}, r"group\._target_: .* has no Traget \(did you mean Target\?\)"),
        ({"_target_": "tests.no_such_module.X"}, r"group\._target_: cannot import tests\.no_such_module"),
        ({"_target_": "os"}, r"group\._target_: 'os' is not a dotted path"),
        ({"_target_": "tests..X"}, r"is not a dotted path"),
        ({"_partial_": True}, r"group\._partial_: no such key"),
    ],
)  # fmt: skip
def test_does_not_fit(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        bind("group", node(**values))


def test_a_needed_key_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"group\.needed: Target requires it"):
        bind("group", {"_target_": f"{HERE}Target"})


@pytest.mark.parametrize("wrong", [None, 3, "text", {}, {"k": 1}])
def test_no_option(wrong: object) -> None:
    with pytest.raises(UserError, match="group: not an option"):
        bind("group", wrong)
