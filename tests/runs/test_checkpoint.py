"""Checkpoints survive a full disk, a kill and damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from opdkit.errors import RunError
from opdkit.runs import checkpoint


def trained(steps: int) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(5, 4)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def save(folder: Path, step: int, keep: int = 3, steps: int = 2) -> Path:
    _, optimizer = trained(steps)
    content = checkpoint.Content(
        lambda beside: (beside / "weights.bin").write_bytes(b"w" * 1000), optimizer, {"cursor": step}
    )
    return checkpoint.write(folder, step, content, keep)


def test_the_newest_is_found_and_only_the_last_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000015", "step-000020"]
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert (found.folder.name, found.state["step"], found.state["cursor"]) == ("step-000020", 20, 20)
    assert found.damaged == ()


def test_the_optimiser_comes_back_bit_for_bit(tmp_path: Path) -> None:
    _, before = trained(3)
    checkpoint.write(tmp_path, 1, checkpoint.Content(lambda beside: None, before, {}), 1)
    found = checkpoint.newest(tmp_path)
    assert found is not None
    _, after = trained(0)
    checkpoint.restore_optimizer(found, after)
    old, new = before.state_dict(), after.state_dict()
    assert json.dumps(new["param_groups"]) == json.dumps(old["param_groups"])
    for index, fields in old["state"].items():
        for name, value in fields.items():
            assert torch.equal(torch.as_tensor(new["state"][index][name]), torch.as_tensor(value))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "weights.bin").write_bytes(b"w" * 999), "999 bytes of 1000"),
        (lambda f: (f / "weights.bin").write_bytes(b"v" * 1000), "changed since"),
        (lambda f: (f / "weights.bin").unlink(), "is missing"),
        (lambda f: (f / "manifest.json").write_text("{"), "unreadable"),
        (lambda f: (f / "manifest.json").write_text("[1]"), "unreadable"),
        (lambda f: (f / "manifest.json").unlink(), "missing or unreadable"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path: Path, damage, said: str) -> None:
    save(tmp_path, 1)
    damage(save(tmp_path, 2))
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.folder.name == "step-000001"
    assert len(found.damaged) == 1
    assert said in found.damaged[0]


def test_a_half_written_one_does_not_count_and_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / ".writing-step-000002").mkdir()
    (tmp_path / ".writing-step-000002" / "weights.bin").write_bytes(b"half")
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.folder.name == "step-000001"
    save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000001", "step-000002"]


def test_a_disk_that_refuses_leaves_the_last_one_whole(tmp_path: Path) -> None:
    save(tmp_path, 1)

    def full(beside: Path) -> None:
        (beside / "weights.bin").write_bytes(b"w")
        raise OSError(28, "No space left on device")

    _, optimizer = trained(1)
    with pytest.raises(RunError, match="No space left"):
        checkpoint.write(tmp_path, 2, checkpoint.Content(full, optimizer, {}), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    found = checkpoint.newest(tmp_path)
    assert found is not None
    assert found.damaged == ()


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    folder = save(tmp_path, 1)
    names = {path.name for path in folder.iterdir()}
    assert names == {"weights.bin", "optimizer.safetensors", "state.json", "manifest.json"}
    json.loads((folder / "state.json").read_text())


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path) is None
    assert checkpoint.newest(tmp_path / "nowhere") is None
