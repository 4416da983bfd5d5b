"""Units that may follow a number; they are compared by name, never converted."""

from __future__ import annotations

import re
from fractions import Fraction

CURRENCIES = "$€£¥₹"

_SYNONYMS = {
    "degree": ("degree", "deg", "\\circ", "^\\circ"),
    "dollar": ("dollar", "$", "usd"),
    "cent": ("cent", "¢"),
    "euro": ("euro", "€", "eur"),
    "pound": ("pound", "£", "gbp", "lb"),
    "yen": ("yen", "¥"),
    "rupee": ("rupee", "₹"),
    "nanometre": ("nanometre", "nanometer", "nm"),
    "micrometre": ("micrometre", "micrometer", "\\mu m", "\N{GREEK SMALL LETTER MU}m"),
    "millimetre": ("millimetre", "millimeter", "mm"),
    "centimetre": ("centimetre", "centimeter", "cm"),
    "metre": ("metre", "meter", "m"),
    "kilometre": ("kilometre", "kilometer", "km"),
    "inch": ("inch", "inches", "in"),
    "foot": ("foot", "feet", "ft"),
    "yard": ("yard", "yd"),
    "mile": ("mile", "mi"),
    "angstrom": ("angstrom", "angstroms", "\\aa"),
    "parsec": ("parsec", "pc"),
    "second": ("second", "sec", "s"),
    "minute": ("minute", "min"),
    "hour": ("hour", "hr", "h"),
    "day": ("day",),
    "revolution": ("revolution", "rev"),
    "week": ("week",),
    "month": ("month",),
    "year": ("year", "yr"),
    "milligram": ("milligram", "mg"),
    "gram": ("gram", "g"),
    "kilogram": ("kilogram", "kg"),
    "ounce": ("ounce", "oz"),
    "litre": ("litre", "liter", "l", "L"),
    "millilitre": ("millilitre", "milliliter", "ml", "mL"),
    "radian": ("radian", "rad"),
    "newton": ("newton", "N"),
    "joule": ("joule", "J"),
    "kilojoule": ("kilojoule", "kJ"),
    "watt": ("watt", "W"),
    "kilowatt": ("kilowatt", "kW"),
    "pascal": ("pascal", "Pa"),
    "atmosphere": ("atmosphere", "atm"),
    "hertz": ("hertz", "Hz"),
    "kelvin": ("kelvin", "K"),
    "volt": ("volt", "V"),
    "ampere": ("ampere", "amp", "A"),
    "ohm": ("ohm", "\\omega", "\\Omega"),
    "coulomb": ("coulomb", "C"),
    "mole": ("mole", "mol"),
    "electronvolt": ("electronvolt", "eV", "electron volt"),
    "erg": ("erg",),
}
_QUOTIENTS = {"mph": "mi/h", "kph": "km/h", "kmph": "km/h", "rpm": "revolution/min"}
_CANONICAL = {name: unit for unit, names in _SYNONYMS.items() for name in names}
_POWER = re.compile(r"^(.*?)\s*(?:\^|\*\*)\s*\{?\s*(-?[1-9])\s*\}?$")
_PHRASE = re.compile(r"[A-Za-z]{2,}(?:[ /.-]+[A-Za-z]+){0,2}")
_SEPARATOR = re.compile(r"\s*(/|\bper\b|\\cdot|\*|(?<=[\w}])\s+(?=[A-Za-z]))\s*")
_LETTER = r"[A-Za-z](?:\^\{?-?\d\}?)?"
_LETTERS = re.compile(rf"{_LETTER}(?:(?:\s+|\s*(?:\\cdot|\*)\s*){_LETTER})*")
_UNIT_BEHIND = re.compile(
    r"(.*\S)\s*(?:\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}(?:\s*\^\s*\{?(-?\d)\}?)?"
    r"|(?<=[\s})\d])([A-Za-z]{2,12})(?:\s*\^\s*\{?(-?\d)\}?)?|\^\s*(\\circ))",
    re.DOTALL,
)
_TRIGONOMETRY = re.compile(r"(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_LONGEST = 60
SCALES = {
    **dict.fromkeys(("hundred", "hundreds"), Fraction(100)),
    **dict.fromkeys(("thousand", "thousands"), Fraction(10**3)),
    **dict.fromkeys(("million", "millions", "mn"), Fraction(10**6)),
    **dict.fromkeys(("billion", "billions", "bn"), Fraction(10**9)),
    **dict.fromkeys(("trillion", "trillions"), Fraction(10**12)),
    **dict.fromkeys(("dozen", "dozens"), Fraction(12)),
    **dict.fromkeys(("tenth", "tenths"), Fraction(1, 10)),
    **dict.fromkeys(("hundredth", "hundredths"), Fraction(1, 100)),
    **dict.fromkeys(("thousandth", "thousandths"), Fraction(1, 1000)),
    **dict.fromkeys(("millionth", "millionths"), Fraction(1, 10**6)),
}
# Words that modify what precedes them: no text containing one is a unit.
_OTHER_WORDS = """
and or not no nor is are to than the pi sqrt sin cos tan log ln exp mod modulo choose over times plus minus
    squared cubed factorial if otherwise when unless else where for except but half halves thirds fifths sixths
    eighths percent base binary decimal am pm a.m p.m a.m. p.m. by more less most least between from infinity infty
    undefined none only remainder doubled tripled negative positive score
"""
MEANINGFUL_WORDS = frozenset(SCALES) | frozenset(_OTHER_WORDS.split())


def canonical_unit(text: str) -> str | None:
    """The canonical name of a unit, "" for an unknown phrase of up to three words.

    None if it is not a unit: a variable, an operator, a longer text. `cm^2`, `square cm` and `sq cm` agree, and so
    do `m/s^2`, `m s^{-2}` and `metres per second^2`.
    """
    text = " ".join(text.strip().rstrip(".").split())
    text = _QUOTIENTS.get(text.lower(), text)
    single = _simple(text)
    if single is not None:
        return single
    compound = _compound(text) if len(text) <= _LONGEST else None
    if compound is not None:
        return compound
    words = text.lower().split()
    if _PHRASE.fullmatch(text) and not MEANINGFUL_WORDS.intersection(words):
        return ""
    return None


def split_scale(words: str) -> tuple[Fraction, str]:
    """Splits a leading number word: `million dollars` as (1000000, "dollars")."""
    first, _, rest = words.partition(" ")
    scale = SCALES.get(first.lower())
    return (scale, rest.removeprefix("of ")) if scale is not None else (Fraction(1), words)


def is_bare(tail: str) -> bool:
    """Whether a unit not marked as text is a letter or product of letters, which may be variables."""
    return bool(_LETTERS.fullmatch(tail))


def _simple(text: str) -> str | None:
    power = ""
    if match := _POWER.match(text):
        text, power = match.group(1).strip(), match.group(2)
    if match := re.match(r"(square|sq\.?|cubic|cu\.?)\s+(.*)$", text, re.IGNORECASE):
        power, text = "2" if match.group(1).lower().startswith("s") else "3", match.group(2)
    lowered = text.lower() if len(text) > 1 else text
    known = _CANONICAL.get(text) or _CANONICAL.get(lowered) or _CANONICAL.get(lowered.removesuffix("s") or lowered)
    if known is None:
        return None
    return f"{known}^{power}" if power not in ("", "1") else known


def _compound(text: str) -> str | None:
    """A product or quotient of known units, in canonical order."""
    powers: dict[str, int] = {}
    sign = 1
    for part in _SEPARATOR.split(text):
        if part in ("/", "per"):
            sign = -1
            continue
        if part.strip() in ("", "\\cdot", "*"):
            continue
        unit = _simple(part.strip("() "))
        if unit is None:
            return None
        name, _, power = unit.partition("^")
        powers[name] = powers.get(name, 0) + sign * int(power or 1)
    names = sorted(f"{name}^{power}" if power != 1 else name for name, power in powers.items() if power)
    return "*".join(names) or None


def split_unit(text: str) -> tuple[str, str | None]:
    """A formula and the unit after it, marked as text or a known word; None if there is none."""
    match = _UNIT_BEHIND.fullmatch(text)
    if match is None:
        return text, None
    body, words, power, bare, bare_power, degree = match.groups()
    if degree is not None:
        return (text, None) if _TRIGONOMETRY.search(body) else (body, "degree")
    name = words if words is not None else bare
    exponent = power or bare_power
    unit = canonical_unit(f"{name}^{exponent}" if exponent else name)
    known = unit if words is not None else unit or None
    return (body, known) if known is not None else (text, None)
