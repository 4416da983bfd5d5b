"""Maps Unicode mathematical symbols to LaTeX or ASCII."""

from __future__ import annotations

import re

_SUPERSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207d\u207e\u207f\u2071\u02e3"
_SUBSCRIPTS = "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208a\u208b\u208d\u208e\u2099\u1d62\u2093"
_PLAIN = "0123456789+-()nix"
_FROM_SUPERSCRIPT = str.maketrans(_SUPERSCRIPTS, _PLAIN)
_FROM_SUBSCRIPT = str.maketrans(_SUBSCRIPTS, _PLAIN)
_FRACTION = re.compile(rf"([{_SUPERSCRIPTS}]+)\u2044([{_SUBSCRIPTS}]+)")
_RAISED = re.compile(f"[{_SUPERSCRIPTS}]+")
_LOWERED = re.compile(f"[{_SUBSCRIPTS}]+")
_ROOTS = {"\u221a": "", "\u221b": "[3]", "\u221c": "[4]"}
_ROOT = re.compile(r"([\u221a\u221b\u221c])\s*(\d+(?:\.\d+)?|[A-Za-z\u03c0]|(?=[({]))?")
_VULGAR_FRACTIONS = {
    "\u00bd": "1/2", "\u00bc": "1/4", "\u00be": "3/4", "\u2153": "1/3", "\u2154": "2/3",
    "\u2155": "1/5", "\u2156": "2/5", "\u2157": "3/5", "\u2158": "4/5", "\u2159": "1/6", "\u215a": "5/6",
    "\u215b": "1/8", "\u215c": "3/8", "\u215d": "5/8", "\u215e": "7/8",
}  # fmt: skip
_LETTERS = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho _ sigma tau
upsilon phi chi psi omega"""
_GREEK = _LETTERS.split()
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega")

_LATEX_OF_SYMBOLS = str.maketrans(
    {
        "\N{MINUS SIGN}": "-",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{FRACTION SLASH}": "/",
        "\N{DIVISION SLASH}": "/",
        "\N{DIVISION SIGN}": "/",
        "\N{MULTIPLICATION SIGN}": "\\times ",
        "\N{MIDDLE DOT}": "\\cdot ",
        "\N{DOT OPERATOR}": "\\cdot ",
        "\N{INFINITY}": "\\infty ",
        "\N{LESS-THAN OR EQUAL TO}": "\\le ",
        "\N{GREATER-THAN OR EQUAL TO}": "\\ge ",
        "\N{LESS-THAN OR SLANTED EQUAL TO}": "\\le ",
        "\N{GREATER-THAN OR SLANTED EQUAL TO}": "\\ge ",
        "\N{NOT EQUAL TO}": "\\ne ",
        "\N{ALMOST EQUAL TO}": "\\approx ",
        "\N{DEGREE SIGN}": "^\\circ ",
        "\N{UNION}": "\\cup ",
        "\N{INTERSECTION}": "\\cap ",
        "\N{ELEMENT OF}": "\\in ",
        "\N{EMPTY SET}": "\\emptyset ",
        "\N{DOUBLE-STRUCK CAPITAL R}": "\\mathbb{R}",
        "\N{DOUBLE-STRUCK CAPITAL Z}": "\\mathbb{Z}",
        "\N{PLUS-MINUS SIGN}": "\\pm ",
        "\N{LEFT FLOOR}": "\\lfloor ",
        "\N{RIGHT FLOOR}": "\\rfloor ",
        "\N{LEFT CEILING}": "\\lceil ",
        "\N{RIGHT CEILING}": "\\rceil ",
        "\N{MATHEMATICAL LEFT ANGLE BRACKET}": "\\langle ",
        "\N{MATHEMATICAL RIGHT ANGLE BRACKET}": "\\rangle ",
        "\N{N-ARY SUMMATION}": "\\sum ",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{FULLWIDTH COMMA}": ", ",
        **{chr(0x3B1 + place): f"\\{name} " for place, name in enumerate(_GREEK) if name != "_"},
        **{chr(0x391 + _GREEK.index(name.lower())): f"\\{name} " for name in _CAPITALS},
        **{sign: f" {value} " for sign, value in _VULGAR_FRACTIONS.items()},
    }
)


def latex_of_symbols(text: str) -> str:
    """The text with LaTeX for symbols; a run of superscripts is one exponent, a root sign covers the whole number."""
    if text.isascii():
        return text
    text = _FRACTION.sub(
        lambda match: rf"\frac{{{_plain(match.group(1))}}}{{{match.group(2).translate(_FROM_SUBSCRIPT)}}}", text
    )
    text = _RAISED.sub(lambda match: f"^{{{_plain(match.group())}}}", text)
    text = _LOWERED.sub(lambda match: f"_{{{match.group().translate(_FROM_SUBSCRIPT)}}}", text)
    text = _ROOT.sub(_root, text)
    return text.translate(_LATEX_OF_SYMBOLS)


def _plain(raised: str) -> str:
    return raised.translate(_FROM_SUPERSCRIPT)


def _root(match: re.Match[str]) -> str:
    covered = match.group(2)
    return f"\\sqrt{_ROOTS[match.group(1)]}" + (f"{{{covered}}}" if covered else "")
