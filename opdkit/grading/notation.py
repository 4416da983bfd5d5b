"""One way of writing for what is written in several: sets, brackets, repeating decimals, powers of ten, words."""

from __future__ import annotations

import re

_REAL_LINE, _EMPTY = r"(-\infty,\infty)", r"\emptyset"
_WORDS = {
    **dict.fromkeys(("all real numbers", "all reals", "the set of all real numbers", "any real number"), _REAL_LINE),
    **dict.fromkeys(("no solution", "no solutions", "no real solution", "no real solutions"), _EMPTY),
    **dict.fromkeys(("empty set", "the empty set"), _EMPTY),
    "does not exist": "dne",
}
_SYNONYMS = (
    (re.compile(r"\\varnothing(?![A-Za-z])|^\\\{\s*\\\}$"), r"\\emptyset"),
    (re.compile(r"\\(?:mathbb\s*\{\s*R\s*\}|R)(?![A-Za-z])"), _REAL_LINE.replace("\\", "\\\\")),
    (re.compile(r"\\(?:[lr]vert|mid)(?![A-Za-z])"), "|"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\\(?:leqslant|leq)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq)(?![A-Za-z])"), r"\\ge "),
)
_OUTWARD = re.compile(r"^([\]\[(])([^\[\]()]*,[^\[\]()]*)([\[\])])$")
_REPEATED = re.compile(r"(\d{0,20})\.(\d{0,20})\\(?:overline|dot|bar)\s*(?:\{(\d{1,20})\}|(\d))")
_AND_SO_ON = re.compile(r"(?<![\d.])(\d{0,20}\.\d{0,20}?)(\d{1,6}?)\2{2,}(?:\\(?:ldots|dots|cdots)|\.{3,})$")
_TEN = re.compile(r"^(\s*[-+]?\s*)10\s*(?:\^|\*\*)")
_SCIENTIFIC = re.compile(
    r"(?<=\d)\s*(?:\\times|\\cdot|[*x])\s*10\s*(?:\^|\*\*)\s*(?:\{\s*([-+]?\d{1,3})\s*\}|([-+]?\d{1,3})(?!\d))"
)


def mark_repetition(text: str) -> str:
    """`0.1666...` as `0.1\\overline{6}`: a group of digits that stands three times and goes on."""
    return _AND_SO_ON.sub(r"\1\\overline{\2}", text)


def unify(text: str) -> str:
    """The same answer in one notation. `]a,b[` becomes `(a,b)`, `0.\\overline{3}` a fraction, `no solution` a set."""
    text = _WORDS.get(_bare_words(text), text)
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    if match := _OUTWARD.match(text):
        opening, inside, closing = match.groups()
        text = f"{'(' if opening == ']' else opening}{inside}{')' if closing == '[' else closing}"
    return _REPEATED.sub(_as_fraction, text).strip()


def power_of_ten(text: str) -> str:
    """`3.2 \\times 10^{5}` as `3.2e5`, and `10^{5}` as `1e5`."""
    text = _TEN.sub(r"\g<1>1*10^", text)
    return _SCIENTIFIC.sub(lambda match: f"e{match.group(1) or match.group(2)}", text, count=1)


def _bare_words(text: str) -> str:
    inner = re.fullmatch(r"\\(?:text|mathrm)\s*\{([^{}]*)\}", text)
    return " ".join((inner.group(1) if inner else text).casefold().split()).rstrip(".")


def _as_fraction(match: re.Match[str]) -> str:
    whole, before, group, digit = match.groups()
    period = group or digit
    scale = 10 ** len(before)
    bottom = scale * (10 ** len(period) - 1)
    top = int(whole or 0) * bottom + int(before or 0) * (10 ** len(period) - 1) + int(period)
    return rf"\frac{{{top}}}{{{bottom}}}"
