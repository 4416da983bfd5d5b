from __future__ import annotations

import pytest

from opdkit.grading.notation import mark_repetition, power_of_ten, unify
from opdkit.grading.units import canonical_unit


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("]0,1[", "(0,1)"),
        ("[0,1[", "[0,1)"),
        (r"\langle 1,2\rangle", "( 1,2)"),
        (r"\varnothing", r"\emptyset"),
        ("No solutions.", r"\emptyset"),
        (r"\text{all real numbers}", r"(-\infty,\infty)"),
        (r"x \in \mathbb{R}", r"x \in (-\infty,\infty)"),
        (r"0.\overline{3}", r"\frac{3}{9}"),
        (r"1.2\overline{34}", r"\frac{1222}{990}"),
        ("(0,1)", "(0,1)"),
        (r"\Re", r"\Re"),
    ],
)
def test_one_notation(text: str, same: str) -> None:
    assert unify(text) == same


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0.333...", r"0.\overline{3}"),
        (r"0.1666\ldots", r"0.1\overline{6}"),
        ("0.121212...", r"0.\overline{12}"),
        ("0.12...", "0.12..."),
        ("0.333", "0.333"),
        ("1,2,...", "1,2,..."),
    ],
)
def test_digits_that_go_on(text: str, same: str) -> None:
    assert mark_repetition(text) == same


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (r"3.2 \times 10^{5}", "3.2e5"),
        ("3*10^-4", "3e-4"),
        ("10^{6}", "1e6"),
        ("-10^2", "-1e2"),
        ("2^{10}", "2^{10}"),
        ("3.2", "3.2"),
    ],
)
def test_powers_of_ten(text: str, same: str) -> None:
    assert power_of_ten(text) == same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("m/s^2", r"m s^{-2}"),
        ("mph", "miles per hour"),
        ("kg m/s^2", r"kg \cdot m/s^2"),
        ("sq cm", "cm^2"),
        ("N", "newtons"),
    ],
)
def test_units_that_are_one(one: str, other: str) -> None:
    assert canonical_unit(one) == canonical_unit(other)
    assert canonical_unit(one)


@pytest.mark.parametrize(
    ("one", "other"), [("m/s", "m/s^2"), ("m/s", "s/m"), ("N", "J"), ("cm", "cm^2"), ("m s", "m/s")]
)
def test_units_that_are_two(one: str, other: str) -> None:
    assert canonical_unit(one) != canonical_unit(other)


@pytest.mark.parametrize("text", ["x", "and more", "+1", "x/y", "m+s", "is not the answer to it"])
def test_what_is_no_unit(text: str) -> None:
    assert canonical_unit(text) is None
