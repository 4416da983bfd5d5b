"""docs/models.md: the table of architectures, as the test finds them.

python -m tests.models.models_page --write
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import transformers

from opdkit.errors import UserError
from opdkit.models import ModelSpec, load
from tests.models.examine import examine
from tests.models.tiny_architectures import ARCHITECTURES, REFUSED, Architecture

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
HEADER = ("Architecture", "`model_type`", "Class", "Attention", "Cache", "Finished rows", "Packing")


def row_of(cells: Sequence[str]) -> str:
    """A line of the table."""
    return f"| {' | '.join(cells)} |"


def refusal(architecture: Architecture, folder: Path) -> str:
    """What loading it says, without the path and the number, which change."""
    architecture.save(folder)
    try:
        load(ModelSpec(str(folder)))
    except UserError as error:
        return str(error).partition(": ")[2].partition(" (they differ")[0]
    raise AssertionError(f"{architecture.name} is not refused")


def written() -> str:
    """The whole page."""
    rows: list[str] = []
    for architecture in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row_of(examine(architecture, Path(folder)).cells))
    refused: list[str] = []
    for architecture in REFUSED:
        with tempfile.TemporaryDirectory() as folder:
            reason = refusal(architecture, Path(folder))
        refused.append(row_of((architecture.name, f"`{architecture.kind}`", reason)))
    table = "\n".join([row_of(HEADER), row_of(["---"] * len(HEADER)), *rows])
    others = "\n".join([row_of(("Architecture", "`model_type`", "What is said")), row_of(["---"] * 3), *refused])
    return TEXT.format(
        count=len(ARCHITECTURES), version=_minor(transformers.__version__), table=table, refused=others
    )  # fmt: skip


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


TEXT = (Path(__file__).parent / "models_page.md").read_text(encoding="utf-8")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/models.md; else print it")
    page = written()
    if parser.parse_args().write:
        PAGE.write_text(page, encoding="utf-8")
    else:
        print(page)
