"""Reads the blocks of code and the commands out of markdown pages.

A fenced block of bash is run line by line, one of python as a whole. One of any language with a title is a file that
the page's later blocks find. A comment before a block says otherwise: `<!-- not run: why -->`, `<!-- compose: why -->`
(its commands are composed and nothing more) or `<!-- fails: why -->`. In indented blocks commands are composed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (not run|compose|fails): [^>]+ -->\s*$")
INDENTED = re.compile(r"^(?: {4}\S.*\n?)+", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        language: of the fence.
        title: the path of a file, or "".
        mark: what the comment before it says, or "".
        text: what the block holds.
    """

    language: str
    title: str
    mark: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        return commands(self.text)


def pages() -> list[Path]:
    """README and every page below docs/, but for the reports that opdkit itself wrote."""
    written = [ROOT / "docs" / "results" / "report" / "report.md"]
    return [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p not in written)]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        mark = MARK.search(text[: match.start()])
        found.append(Block(match[1], match[2] or "", mark[1] if mark else "", match[3]))
    return found


def write_files(page: Path, folder: Path) -> None:
    """The blocks of a page that are files, below `folder`."""
    for block in blocks(page):
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")


def mentioned(page: Path) -> Iterator[list[str]]:
    """The words of each opdkit command in blocks of a page, whatever becomes of it."""
    for block in blocks(page):
        if block.language == "bash" and block.mark != "fails":
            yield from (words for words in block.commands if words[0] == "opdkit")
    rest = FENCE.sub("", page.read_text(encoding="utf-8"))
    for match in INDENTED.finditer(rest):
        text = "\n".join(line[4:] for line in match[0].splitlines())
        yield from (words for words in commands(text) if words[0] == "opdkit")


def commands(text: str) -> list[list[str]]:
    """The lines of a block as words. A backslash joins lines, comments are cut, wide space parts two commands."""
    found = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        for part in re.split(r"\s{2,}(?=opdkit )", line):
            words = _words(part)
            if words:
                found.append(words)
    return found


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []
