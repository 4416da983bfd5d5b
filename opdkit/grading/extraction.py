"""Which part of a response is its answer. Every function is linear in the length of the text."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_FINAL_FORM = re.compile(
    r"(?<!#)####(?!#|[ \t]*(?:\d+[.)][ \t]+[A-Za-z]|[*_]*[A-Za-z]{4}))[ \t]*"  # a heading is no answer
    r"|(?:final[ \t]+|correct[ \t]+)?answer[ \t]*(?:[*_]{1,3})?[ \t]*"
    r"(?:is[ \t]*:|is\b|equals\b|[:=\uff1a])"
    r"|\u7b54\u6848[ \t]*(?:\u662f|\u4e3a|\u70ba|[:\uff1a])",  # the same words in Chinese
    re.IGNORECASE,
)
_LINE_LIMIT = 4000
_SENTENCE_END = re.compile(
    r"(?<!\\)[.\u3002;!?](?=\s|$)"
    r"|,?\s+(?:because|since|which|as|so|where|when|after|for|in total|in all)\b"
    r"|,\s+(?!and\b|or\b)[A-Za-z]{3,}",
    re.IGNORECASE,
)
_EMPHASIS = "*_ \t\r"


def extract_answer(response: str) -> str | None:
    """The answer that a response gives, as text, or None where it gives none.

    The part after the last `</think>` is read first; the reasoning itself only where that part has no answer.
    Within a part the last `\\boxed{...}` wins. Without one, the last of the forms `#### x`, `the answer is x`,
    `Answer: x` does, up to the end of its sentence or line. A box that was never closed is no answer: the
    response was cut inside it. A number that merely stands somewhere is no answer either.
    """
    _, separator, conclusion = response.rpartition("</think>")
    parts = [conclusion, response] if separator else [response]
    for part in parts:
        answer = _last_box(part) if "\\boxed" in part or "\\fbox" in part else _last_final_form(part)
        if answer:
            return answer
    return None


def first_answer_end(response: str) -> int | None:
    """Where the first final answer of a response ends, in characters; None where it gives none.

    The answers are those of `extract_answer`, looked for behind the last `</think>` where there is one: the first box
    that is not empty, else (also where a box was never closed) the first final form up to the end of its line.
    """
    skipped = response.rfind("</think>") + 1
    for opening in _BOX.finditer(response, skipped):
        start = opening.end()
        if response[start : start + 1] != "{":
            continue
        end = _closing_brace(response, start)
        if end is None:  # what comes after it lies inside it
            break
        if response[start + 1 : end].strip():
            return end + 1
    for form in _FINAL_FORM.finditer(response, skipped):
        line, _, _ = response[form.end() : form.end() + _LINE_LIMIT].partition("\n")
        if line.strip(_EMPHASIS):
            return form.end() + len(line)
    return None


def _last_box(text: str) -> str | None:
    """What the last box holds. An empty one is passed over: it quotes the instruction, `put it in \\boxed{}`."""
    for opening in reversed(list(_BOX.finditer(text))):
        if opening.end() == len(text):
            continue
        position = opening.end()
        if text[position] != "{":
            word = re.split(r"[\s$]", text[position : position + _LINE_LIMIT], maxsplit=1)[0]
            return word.rstrip(".,;") or None
        end = _closing_brace(text, position)
        if end is None:
            return None
        if content := text[position + 1 : end].strip():
            return content
    return None


def _closing_brace(text: str, opening: int) -> int | None:
    """Where the brace that opens at `opening` closes; `\\{` and `\\}` do not count."""
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, opening):
        token = match.group()
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                return match.start()
    return None


def _last_final_form(text: str) -> str | None:
    last = None
    for match in _FINAL_FORM.finditer(text):
        last = match
    if last is None:
        return None
    tail = text[last.end() : last.end() + _LINE_LIMIT].lstrip(": \t*_\uff1a").lstrip("\n")
    line = tail.split("\n", 1)[0].strip(_EMPHASIS)
    return (line if last.group().startswith("#") else _clean_sentence(line)) or None


def _clean_sentence(line: str) -> str:
    """A sentence's answer: the first formula where it starts with one, else the text up to the full stop."""
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if line.startswith(opening) and (end := _find_unescaped(line, closing, len(opening))) > 0:
            formula = line[len(opening) : end].strip()
            if formula and not (opening == "$" and _is_money(line, end)):
                return formula
    stop = _SENTENCE_END.search(line)
    return (line[: stop.start()] if stop else line).strip(_EMPHASIS)


def _find_unescaped(line: str, wanted: str, start: int) -> int:
    while (place := line.find(wanted, start)) > 0 and wanted[0] == "$" and line[place - 1] == "\\":
        start = place + 1
    return place


def _is_money(line: str, closing: int) -> bool:
    """`$5 and not $6` holds two prices, not the formula `5 and not `."""
    return bool(re.match(r"\$\s?[\d.,]+\s+[A-Za-z]", line)) and line[closing + 1 : closing + 2].isdigit()
