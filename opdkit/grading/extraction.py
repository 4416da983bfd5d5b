"""Extracts the answer from a response. Every function is linear in the length of the text."""

from __future__ import annotations

import re

from opdkit.grading.sentence import sentence_answer
from opdkit.grading.turns import conclusion

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# Repetitions are bounded: truncated responses often contain very long runs of blanks.
_FINAL_FORM = re.compile(
    r"(?<!#)####(?!#|[ \t]{0,8}(?:\d{1,4}[.)][ \t]|[*_]{0,3}[A-Za-z]{4}))"  # a heading is not an answer
    r"|(?:final[ \t]{1,8}|correct[ \t]{1,8})?answer[ \t]{0,8}(?:[*_]{1,3}[ \t]{0,8})?"
    r"(?:is[ \t]{0,8}:|is\b|equals\b|[:=\uff1a])"
    r"|\u7b54\u6848[ \t]{0,8}(?:\u662f|\u4e3a|\u70ba|[:\uff1a])",  # the same words in Chinese
    re.IGNORECASE,
)
_LINE_LIMIT = 4000
_EMPHASIS = "*_ \t\r"
_GAP_LIMIT = 60
_NAME = r"[A-Za-z](?:_\{?\w{1,3}\}?)?\s*="
_LIST_LINE = r"\n\s?(?:[-*\u2022]|\(?\d{1,2}[.)])\s"
_GAP = re.compile(
    rf"(?:{_LIST_LINE}|\s|\$|,|;|&|\\\\|\\[()\[\],; ]|\\q?quad\b|(?:and|or)\b"
    rf"|\\text\s?\{{\s?,?\s?(?:and|or)\s?\}}|{_NAME})*"
)
_NAME_BEFORE = re.compile(rf"(?<![A-Za-z\\])({_NAME})\s*$")


def extract_answer(response: str) -> str | None:
    """The answer of a response as text, or None.

    The part after the last `</think>` is read first; the reasoning itself only where that part has no answer, and
    never reasoning that did not end.
    Within a part the last `\\boxed{...}` wins, together with adjacent boxes of the same list. Without one, the last of
    the forms `#### x`, `the answer is x`, `Answer: x` wins, up to the end of its sentence or line. A box that was never
    closed is not an answer: the response was truncated inside it. Neither is a number elsewhere in the text.
    """
    start, end = conclusion(response)
    parts = [response[start:end], response[:start]] if start else [response[:end]]
    for part in parts:
        answer = _last_box(part) if "\\boxed" in part or "\\fbox" in part else _last_final_form(part)
        if answer:
            return answer
    return None


def first_answer_end(response: str) -> int | None:
    """End of the first final answer of a response, in characters; None if it has none.

    Answers are those of `extract_answer` in the conclusion: the first non-empty box, else (also if a box was never
    closed) the first final form up to the end of its line.
    """
    begin, limit = conclusion(response)
    for opening in _BOX.finditer(response, begin, limit):
        start = opening.end()
        if response[start : start + 1] != "{":
            continue
        end = _closing_brace(response, start, limit)
        if end is None:  # everything after it is inside it
            break
        if response[start + 1 : end].strip():
            return end + 1
    for form in _FINAL_FORM.finditer(response, begin, limit):
        line, _, _ = response[form.end() : min(form.end() + _LINE_LIMIT, limit)].partition("\n")
        if line.strip(_EMPHASIS):
            return form.end() + len(line)
    return None


def _last_box(text: str) -> str | None:
    """The content of the last box. Empty ones are skipped: they quote the instruction `put it in \\boxed{}`."""
    openings = list(_BOX.finditer(text))
    while openings:
        opening = openings.pop()
        position = opening.end()
        if position == len(text):
            continue
        if text[position] != "{":
            word = re.split(r"[\s$]", text[position : position + _LINE_LIMIT], maxsplit=1)[0]
            return word.rstrip(".,;") or None
        end = _closing_brace(text, position, len(text))
        if end is None:
            return None
        if content := text[position + 1 : end].strip():
            return _with_neighbours(text, openings, opening, content)
    return None


def _with_neighbours(text: str, before: list[re.Match[str]], last: re.Match[str], content: str) -> str:
    """The boxes that form a list with the last one: separated only by commas, `and`, `or` or a name with `=`."""
    boxes = [(last.start(), content)]
    for opening in reversed(before):
        if text[opening.end() : opening.end() + 1] != "{":
            break
        end = _closing_brace(text, opening.end(), boxes[-1][0])
        if end is None or boxes[-1][0] - end > _GAP_LIMIT or not _GAP.fullmatch(text, end + 1, boxes[-1][0]):
            break
        if inside := text[opening.end() + 1 : end].strip():
            boxes.append((opening.start(), inside))
    boxes.reverse()
    if len({inside for _, inside in boxes}) == 1:
        return content
    names = [_NAME_BEFORE.search(text, max(0, start - 20), start) for start, _ in boxes]
    if all(names):
        return ", ".join(f"{name.group(1)}{box[1]}" for name, box in zip(names, boxes, strict=True) if name)
    return ", ".join(inside for _, inside in boxes)


def _closing_brace(text: str, opening: int, limit: int) -> int | None:
    """Index of the brace closing the one at `opening`, before `limit`; `\\{` and `\\}` do not count."""
    depth = 0
    for match in _BRACE.finditer(text, opening, limit):
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
    return (line if last.group().startswith("#") else sentence_answer(line)) or None
