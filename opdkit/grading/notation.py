"""Normalises equivalent notations: sets, brackets, repeating decimals, powers of ten, words."""

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
    (re.compile(r"\\[dt]binom(?![A-Za-z])"), r"\\binom"),
    (re.compile(r"\{([^{}\\]{1,40})\\choose(?![A-Za-z])([^{}\\]{1,40})\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"\\langle(?![A-Za-z])"), "("),
    (re.compile(r"\\rangle(?![A-Za-z])"), ")"),
    (re.compile(r"\\(?:leqslant|leq)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq)(?![A-Za-z])"), r"\\ge "),
)
_ROOT_OF_BRACKET = re.compile(r"(?<![A-Za-z])\\?sqrt\s*\(")
_ROOTS_LIMIT = 30
_DOLLAR = re.compile(r"(?<!\\)\$+")
_MONEY = re.compile(r"\s?[\d.,]+\s+[A-Za-z]")
_SUFFIX = r"(?:st|nd|rd|th)"
_IN_TEXT = rf"\\(?:text|mathrm|textrm|mbox|textsuperscript)\s*\{{\s*{_SUFFIX}\s*\}}"
_ORDINAL = re.compile(
    rf"(?<=\d)(?:\s*\^\s*(?:\{{\s*{_IN_TEXT}\s*\}}|{_IN_TEXT}|\{{\s*{_SUFFIX}\s*\}})|\s*{_IN_TEXT}|{_SUFFIX}(?![A-Za-z]))"
)
_APPROXIMATELY = re.compile(
    r"^(?:=|\\(?:approx|simeq|sim|doteq|cong)(?![A-Za-z])|(?:approximately|approx\.?|about|roughly|around)\s"
    r"|\\text\s*\{\s*(?:approximately|approx\.?|about|roughly|around)\s*\})\s*",
    re.IGNORECASE,
)
_SAYS = re.compile(
    r"^\\text\s*\{\s*(?:the\s)?(?:final\s|correct\s)?answer(?:\sis)?\s?[:=]?\s*\}\s*|^(?:the\s)?(?:final\s)?answer(?:\sis|\s?[:=])\s*",
    re.IGNORECASE,
)
_CHOICE = re.compile(
    r"^(?:the\s)?(?:correct\s|right\s)?(?:option|choice|answer(?:\schoice)?|letter)(?:\sis)?\s?:?\s?(\(?[A-J](?![A-Za-z]).*)$",
    re.IGNORECASE,
)
_WORDED = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm)\s*\{([^{}]*)\}")
_OUTWARD = re.compile(r"^([\]\[(])([^\[\]()]*,[^\[\]()]*)([\[\])])$")
_REPEATED = re.compile(r"(\d{0,20})\.(\d{0,20})\\(?:overline|dot|bar)\s*(?:\{(\d{1,20})\}|(\d))")
_AND_SO_ON = re.compile(r"(?<![\d.])(\d{0,20}\.\d{0,20}?)(\d{1,6}?)\2{2,}(?:\\(?:ldots|dots|cdots)|\.{3,})$")
_TEN = re.compile(r"^(\s*[-+]?\s*)10\s*(?:\^|\*\*)")
_SCIENTIFIC = re.compile(
    r"(?<=\d)\s*(?:\\times|\\cdot|[*x])\s*10\s*(?:\^|\*\*)\s*(?:\{\s*([-+]?\d{1,3})\s*\}|([-+]?\d{1,3})(?!\d))"
)


def mark_repetition(text: str) -> str:
    """`0.1666...` as `0.1\\overline{6}`: a group of digits that occurs three times and continues."""
    return _AND_SO_ON.sub(r"\1\\overline{\2}", text)


def unify(text: str) -> str:
    """The same answer in one notation. `]a,b[` becomes `(a,b)`, `0.\\overline{3}` a fraction, `no solution` a set."""
    text = _APPROXIMATELY.sub("", _SAYS.sub("", _WORDS.get(_bare_words(text), text)))
    if match := _CHOICE.match(" ".join(_WORDED.sub(r"\1", text).split())):
        text = match.group(1)
    text = root_braces(_ORDINAL.sub("", text))
    for pattern, replacement in _SYNONYMS:
        text = pattern.sub(replacement, text)
    if match := _OUTWARD.match(text):
        opening, inside, closing = match.groups()
        text = f"{'(' if opening == ']' else opening}{inside}{')' if closing == '[' else closing}"
    return _REPEATED.sub(_as_fraction, text).strip()


def without_dollars(text: str) -> str:
    """The text without formula delimiters; dollar signs that denote money stay."""
    text = text.replace("\\(", "").replace("\\)", "") if "\\(" in text and "\\\\(" not in text else text
    signs = list(_DOLLAR.finditer(text))
    if len(signs) < 2 or len(signs) % 2:
        return text
    for opening, closing in zip(signs[::2], signs[1::2], strict=True):
        inside, behind = text[opening.end() : closing.start()], text[closing.end() : closing.end() + 1]
        if behind.isdigit() and (_MONEY.match(inside) or inside[-1:] in " ,"):
            return text
    return _DOLLAR.sub("", text)


def root_braces(text: str) -> str:
    """`sqrt(x+1)` and `\\sqrt(x+1)` as `\\sqrt{x+1}`."""
    for _ in range(_ROOTS_LIMIT):
        match = _ROOT_OF_BRACKET.search(text)
        if match is None:
            break
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            break
        text = f"{text[: match.start()]}\\sqrt{{{text[match.end() : end - 1]}}}{text[end:]}"
    return text


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
