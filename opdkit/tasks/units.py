"""Units that may stand behind a number. They are compared by name, never converted."""

from __future__ import annotations

import re

CURRENCIES = "$€£¥₹"

_SYNONYMS = {
    "degree": ("degree", "deg", "\\circ", "^\\circ"),
    "dollar": ("dollar", "$", "usd"),
    "cent": ("cent", "¢"),
    "euro": ("euro", "€", "eur"),
    "pound": ("pound", "£", "gbp", "lb"),
    "yen": ("yen", "¥"),
    "rupee": ("rupee", "₹"),
    "millimetre": ("millimetre", "millimeter", "mm"),
    "centimetre": ("centimetre", "centimeter", "cm"),
    "metre": ("metre", "meter", "m"),
    "kilometre": ("kilometre", "kilometer", "km"),
    "inch": ("inch", "inches", "in"),
    "foot": ("foot", "feet", "ft"),
    "yard": ("yard", "yd"),
    "mile": ("mile", "mi"),
    "second": ("second", "sec", "s"),
    "minute": ("minute", "min"),
    "hour": ("hour", "hr", "h"),
    "day": ("day",),
    "week": ("week",),
    "month": ("month",),
    "year": ("year", "yr"),
    "gram": ("gram", "g"),
    "kilogram": ("kilogram", "kg"),
    "ounce": ("ounce", "oz"),
    "litre": ("litre", "liter", "l"),
    "millilitre": ("millilitre", "milliliter", "ml"),
    "radian": ("radian", "rad"),
}
_CANONICAL = {name: unit for unit, names in _SYNONYMS.items() for name in names}
_POWER = re.compile(r"^(.*?)\s*\^\s*\{?\s*([23])\s*\}?$")
_PHRASE = re.compile(r"[A-Za-z]{2,}(?:[ /.-]+[A-Za-z]+){0,2}")
_NOT_UNITS = frozenset(
    [
        "and",
        "or",
        "not",
        "is",
        "are",
        "to",
        "than",
        "the",
        "pi",
        "sqrt",
        "sin",
        "cos",
        "tan",
        "log",
        "ln",
        "exp",
        "mod",
        "choose",
        "over",
        "times",
        "plus",
        "minus",
        "squared",
    ]
)


def canonical_unit(text: str) -> str | None:
    """One name for the unit that `text` is, "" for a phrase of up to three words that is in no table.

    None where it is no unit: a variable, an operator, a longer text. `cm^2`, `square cm` and `sq cm` agree.
    """
    text = text.strip().rstrip(".")
    power = ""
    if match := _POWER.match(text):
        text, power = match.group(1).strip(), match.group(2)
    if match := re.match(r"(square|sq\.?|cubic|cu\.?)\s+(.*)$", text, re.IGNORECASE):
        power, text = "2" if match.group(1).lower().startswith("s") else "3", match.group(2)
    lowered = text.lower() if len(text) > 1 else text
    known = _CANONICAL.get(lowered) or _CANONICAL.get(lowered.removesuffix("s") or lowered)
    if known is not None:
        return f"{known}^{power}" if power else known
    words = lowered.split()
    if _PHRASE.fullmatch(text) and not _NOT_UNITS.intersection(words):
        return ""
    return None
