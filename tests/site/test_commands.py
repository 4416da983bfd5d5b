"""Every command of every page composes, and every block says what becomes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from opdkit.cli.main import COMMANDS, main
from tests.site.blocks import ROOT, blocks, commands, mentioned, pages, write_files

COMPOSED = ("train", "eval", "study")
AS_TRAIN = ("sweep", "doctor")


def composed(words: list[str]) -> list[str] | None:
    """The same command, told to show its configuration; None for one that has none."""
    command, *rest = words[1:]
    if command in AS_TRAIN:
        rest = [w for w in rest if not w.startswith("measure=")]
    if command not in (*COMPOSED, *AS_TRAIN) or rest[:1] in (["--help"], ["-h"]):
        return None
    plugins = any(word.startswith(("hydra/", "hydra.")) or word == "hparams_search=optuna" for word in rest)
    kept = [] if plugins else [w if "[" in w else w.split(",")[0] for w in rest]
    kept = [word for word in kept if word not in ("--cfg", "job", "--dry-run")]
    return ["train" if command in AS_TRAIN else command, *kept, "--cfg", "job"]


def fast_first() -> list[object]:
    """The pages of the long way (tutorials, how-to, results) are slow: the first two are run as well."""
    long = ("docs/tutorials/", "docs/how-to/", "docs/results/")
    names = [(page, str(page.relative_to(ROOT))) for page in pages()]
    return [pytest.param(p, id=name, marks=pytest.mark.slow if name.startswith(long) else ()) for p, name in names]


@pytest.mark.parametrize("page", fast_first())
def test_commands_compose(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine").mkdir()
    write_files(page, tmp_path)
    own = any((tmp_path / "mine").iterdir())
    known = set[tuple[str, ...]]()
    for words in mentioned(page):
        assert words[1] in COMMANDS or words[1].startswith("-"), words
        asked = composed(words)
        if asked is None or tuple(asked) in known or ("--config-dir" in asked and not own):
            continue
        known.add(tuple(asked))
        status = main(asked)
        assert status == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
        capsys.readouterr()


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_blocks_can_be_run(page: Path) -> None:
    """Lines that are neither an opdkit command nor a script of the checkout need a word on why they are not run."""
    for block in blocks(page):
        assert block.language in ("bash", "python", "yaml", "json", "text"), block
        if block.language == "bash" and block.mark != "not run":
            for words in block.commands:
                assert words[0] == "opdkit" or (words[0] == "python" and (ROOT / words[1]).is_file()), words


def test_lines_are_read_as_a_shell_would() -> None:
    text = "opdkit train k=1 \\\n  steps=2   # why\nopdkit ls a        opdkit ls b   # two\n# nothing\n"
    assert commands(text) == [["opdkit", "train", "k=1", "steps=2"], ["opdkit", "ls", "a"], ["opdkit", "ls", "b"]]
