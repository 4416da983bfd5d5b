"""What can be chosen is what lies in the folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from opdkit.config import location
from opdkit.config.near import refusal
from opdkit.errors import UserError


def test_shipped_options_win_over_ones_own_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "objective").mkdir()
    for name in ("topk", "mine"):
        (tmp_path / "objective" / f"{name}.yaml").write_text("# mine\n")
    found = location.options("objective", location.search_folders(str(tmp_path)))
    assert found["mine"].parent.parent == tmp_path
    assert found["topk"].parent.parent == location.conf_dir()


def test_description_is_the_first_comment_that_is_no_instruction(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("\n# @package _global_\n#\n# what it is\n# more\nk: 1\n")
    assert location.description(file) == "what it is"
    file.write_text("k: 1\n# late\n")
    assert location.description(file) == ""


def test_installed_without_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "_PACKAGE", tmp_path / "opdkit")
    with pytest.raises(UserError, match="the installation is incomplete"):
        location.conf_dir()
    inside = tmp_path / "opdkit" / "conf"
    inside.mkdir(parents=True)
    (inside / "train.yaml").write_text("")
    assert location.conf_dir() == inside


def test_refusal_names_what_is_allowed_and_the_near_miss() -> None:
    assert refusal("a=tre", "no such option", "tre", ["two", "three"]) == (
        "a=tre: no such option; allowed: three, two (did you mean three?)"
    )
    assert refusal("a=zzz", "no", "zzz", []) == "a=zzz: no; allowed: nothing"
