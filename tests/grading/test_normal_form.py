from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.grading.normal_form import Number, compact, normal_form, read_number, read_text, split_assignment, tidy

NUMBERS = [
    ("5", Fraction(5)),
    ("-5", Fraction(-5)),
    ("- 5", Fraction(-5)),
    ("025", Fraction(25)),
    ("1,234,567", Fraction(1234567)),
    ("1{,}234", Fraction(1234)),
    (r"1\,234", Fraction(1234)),
    (r"58,\!500", Fraction(58500)),
    (".5", Fraction(1, 2)),
    ("5.", Fraction(5)),
    ("2.50", Fraction(5, 2)),
    ("1.5e3", Fraction(1500)),
    ("1/2", Fraction(1, 2)),
    ("-1/2", Fraction(-1, 2)),
    (r"\frac{1}{2}", Fraction(1, 2)),
    (r"\dfrac12", Fraction(1, 2)),
    (r"\frac 59", Fraction(5, 9)),
    (r"-\frac{3}{4}", Fraction(-3, 4)),
    ("1 1/2", Fraction(3, 2)),
    (r"2\frac{1}{2}", Fraction(5, 2)),
    (r"-2\frac{1}{2}", Fraction(-5, 2)),
    ("½", Fraction(1, 2)),
    ("\N{MINUS SIGN}7", Fraction(-7)),
    ("$12$", Fraction(12)),
    (r"\$12", Fraction(12)),
    ("**12**", Fraction(12)),
    ("12.", Fraction(12)),
]
NOT_NUMBERS = ["", "x", "5x", "1/0", "1 2", "5 or 6", "5, 6", "1,23", "1,2345", "2^3", r"8\pi", "--5", "five", "5 5 cm"]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_number_is_read_exactly(text: str, value: Fraction) -> None:
    number = read_number(tidy(text))
    assert number is not None
    assert number.value == value


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_what_is_no_single_number_is_not_read_as_one(text: str) -> None:
    assert read_number(tidy(text)) is None


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (r"5.4 \text{ cents}", "cent"),
        ("$5", "dollar"),
        ("5 dollars", "dollar"),
        ("10 cm", "centimetre"),
        (r"10\text{ cm}^2", "centimetre^2"),
        ("10 square centimeters", "centimetre^2"),
        ("90°", "degree"),
        (r"90^{\circ}", "degree"),
        ("3 inches", "inch"),
        ("7 green apples", ""),
        ("7", None),
    ],
)
def test_unit_behind_a_number(text: str, unit: str | None) -> None:
    number = read_number(tidy(text))
    assert number is not None
    assert number.unit == unit


def test_percent_is_kept_beside_the_value() -> None:
    assert read_number(tidy(r"50\%")) == Number(Fraction(50), percent=True)
    assert read_number(tidy("50 percent")) == Number(Fraction(50), percent=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (r"\text{Evelyn}", "evelyn"),
        ("(E)", "e"),
        (r"\text{(E)}", "e"),
        ("due  East.", "due east"),
        ("x+1", None),
        ("5", None),
    ],
)
def test_words_of_a_text_answer(text: str, words: str | None) -> None:
    assert read_text(tidy(text)) == words


def test_assignment_is_split_once() -> None:
    assert split_assignment("x = 5") == ("x", "5")
    assert split_assignment("f(x) = x^2") == ("f(x)", "x^2")
    assert split_assignment("x \\le 5") == (None, "x \\le 5")
    assert split_assignment("x = y = 5") == (None, "x = y = 5")


def test_row_breaks_of_a_matrix_survive() -> None:
    assert "\\\\" in tidy(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}")


def test_compact_keeps_a_space_between_digits_and_letters_alone() -> None:
    assert compact("( 1 , 2 )") == "(1,2)"
    assert compact("1 2") == "1 2"
    assert compact(r"2 \sqrt x") == r"2\sqrt x"


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.5", r"\frac{1}{2}"), ("1,000", "1000"), ("x = 4", "4"), (r"\text{Yes}", "yes"), ("( 1, 2)", "(1,2)")],
)
def test_equal_answers_share_their_normal_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**6))
def test_fraction_is_read_back(numerator: int, denominator: int) -> None:
    for text in (f"{numerator}/{denominator}", rf"\frac{{{numerator}}}{{{denominator}}}"):
        number = read_number(tidy(text))
        assert number is not None
        assert number.value == Fraction(numerator, denominator)


@given(st.integers(-(10**12), 10**12))
def test_thousands_separators_change_nothing(value: int) -> None:
    number = read_number(tidy(f"{value:,}"))
    assert number is not None
    assert number.value == value


@given(st.text())
def test_any_text_has_a_normal_form_without_surrogates_or_controls(text: str) -> None:
    form = normal_form(text)
    form.encode("utf-8")
    assert "\0" not in form
