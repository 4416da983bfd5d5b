"""MkDocs hooks: generated pages, pages from the repository root, and links that leave docs/."""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from config_reference import pages  # noqa: E402

FROM_ROOT = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "PAPERS.md": "explanation/papers.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
"""File in the repository root -> its page."""

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are not files in docs/."""
    for name, page in FROM_ROOT.items():
        text = relinked((ROOT / name).read_text(encoding="utf-8"), "", page)
        files.append(File.generated(config, page, content=text))
    for name, text in pages().items():
        files.append(File.generated(config, f"reference/config/{name}", content=text))
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    listed = [f"- [{title(d)}]({d.name}), {d.name[:10]}" for d in decisions]
    head = "# Decisions\n\nWhy things are as they are: what was decided, why, and what it costs.\n\n"
    files.append(File.generated(config, "decisions/index.md", content=head + "\n".join(listed) + "\n"))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Redirects links that leave docs/ to the corresponding page, or removes them. A page without sections has no
    table of contents."""
    if "\n## " not in markdown:
        page.meta.setdefault("hide", ["toc"])
    source = page.file.src_uri
    return markdown if page.file.generated_by else relinked(markdown, "docs/" + source, source)


def title(file: Path) -> str:
    """The first heading."""
    return file.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")


def relinked(text: str, source: str, page: str) -> str:
    """`text` of a file (`source`, from the root) as the page `page`, with adjusted relative links."""

    def link(found: re.Match[str]) -> str:
        label, target, anchor = found[1], found[2], found[3] or ""
        if "://" in target or target.startswith(("mailto:", "/")):
            return found[0]
        aim = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if aim in FROM_ROOT:
            at = FROM_ROOT[aim]
        elif aim.startswith("docs/") and (ROOT / aim).is_file():
            at = aim.removeprefix("docs/")
        elif aim == "docs/decisions":
            at = "decisions/index.md"
        elif (ROOT / aim).exists() and not aim.startswith("docs/"):
            return label if "`" in label else f"{label} (`{aim}`)" if label != aim else f"`{aim}`"
        else:
            return found[0]
        return f"[{label}]({posixpath.relpath(at, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(link, text)
