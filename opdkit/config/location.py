"""Locates configuration files and lists the options of each group by file name, without Hydra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opdkit.config.near import refusal
from opdkit.errors import UserError

_PACKAGE = Path(__file__).resolve().parent.parent


def conf_dir() -> Path:
    """The shipped configuration: `conf/` next to the package in a checkout, `opdkit/conf` when installed."""
    for candidate in (_PACKAGE.parent / "conf", _PACKAGE / "conf"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise UserError(f"no conf folder beside or inside {_PACKAGE}: the installation is incomplete")


def search_folders(own: str | None) -> tuple[Path, ...]:
    """The shipped folder, then the user's `--config-dir`."""
    if own is None:
        return (conf_dir(),)
    folder = Path(own)
    if not folder.is_dir():
        raise UserError(f"--config-dir {own}: no such folder")
    return conf_dir(), folder.resolve()


def groups(folders: Sequence[Path]) -> list[str]:
    """Names of all config groups: folders and subfolders (objective/divergence) that contain an option."""
    depths = ("*/*.yaml", "*/*/*.yaml")
    found = {p.parent.relative_to(f).as_posix() for f in folders for depth in depths for p in f.glob(depth)}
    return sorted(name for name in found if name.split("/")[0] != "hydra")


def options(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Option name -> file of a group. A shipped file takes precedence over a user's file of the same name.

    A file whose name starts with an underscore is not an option, but a base for others of its group.
    """
    found: dict[str, Path] = {}
    for folder in reversed(folders):
        found.update({p.stem: p for p in (folder / group).glob("*.yaml") if not p.stem.startswith("_")})
    return dict(sorted(found.items()))


def options_of(group: str, folders: Sequence[Path]) -> dict[str, Path]:
    """`options`, or UserError for an unknown group."""
    known = groups(folders)
    if group not in known:
        raise UserError(refusal(group, "no such group", group, known))
    return options(group, folders)


def description(file: Path) -> str:
    """An option's description: the first comment of its file that is not a Hydra directive."""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text and not text.startswith("#"):
            break
        text = text.lstrip("#").strip()
        if text and not text.startswith("@package"):
            return text
    return ""
