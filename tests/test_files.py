from __future__ import annotations

from pathlib import Path

import pytest

from opdkit.errors import RunError
from opdkit.files import write_whole


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_whole(path, "old")
    write_whole(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(RunError, match="could not be written"):
        write_whole(tmp_path / "nowhere" / "a.json", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
