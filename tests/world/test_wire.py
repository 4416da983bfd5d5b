"""What passes from one process to another comes out as it went in, and nothing else passes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from opdkit.data.grade import Grade
from opdkit.data.problem import Message
from opdkit.generation import Completion, EpisodeState
from opdkit.world.wire import from_bytes, to_bytes


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        (),
        (1, 2, 2**40),
        (True, 1),
        [0.1, float("inf"), -3],
        {"a": [1, ("b", None)], 3: {}},
        Path("runs") / "one",
        Grade(0.25, None, "7", "timeout"),
        [Message("user", 'Grüße "du"\n')],
    ],
)
def test_plain_values_and_dataclasses(value: object) -> None:
    found = from_bytes(to_bytes(value))
    assert found == value
    assert type(found) is type(value)


def test_tensors_keep_every_bit() -> None:
    entropy = torch.rand(3, dtype=torch.float64)
    sent = Completion((5, 6, 7), torch.tensor([-0.1, -float("inf"), 0.0])[::1], entropy, "stop")
    found = from_bytes(to_bytes([sent]))[0]
    assert found.ids == sent.ids
    assert torch.equal(found.log_prob, sent.log_prob)
    assert torch.equal(found.entropy, entropy)


def test_numbers_of_numpy_become_plain() -> None:
    found = from_bytes(to_bytes({"x": np.float64(0.1), "y": np.int64(3)}))
    assert found == {"x": 0.1, "y": 3}


@dataclass
class Foreign:
    x: int = 0


@pytest.mark.parametrize("value", [Foreign(), object(), {1, 2}, print])
def test_nothing_else_is_sent(value: object) -> None:
    with pytest.raises(TypeError, match="can't be sent"):
        to_bytes([value])


@pytest.mark.parametrize("name", ["subprocess:Popen", "opdkit.errors:UserError", "opdkit.cli.main:main", "opdkit.no:X"])
def test_no_other_class_is_built(name: str) -> None:
    text = json.dumps({"class": name, "fields": {}}).encode()
    with pytest.raises(TypeError, match="no dataclass of opdkit"):
        from_bytes(save({"json": torch.frombuffer(bytearray(text), dtype=torch.uint8)}))


def test_an_episode_is_sent_whole() -> None:
    from opdkit.environments import Episode, Observation

    state = EpisodeState(3, Episode("g/1", 1, "g"), 9, Observation("door", ("open",)), ending="done", success=True)
    assert from_bytes(to_bytes(state)) == state
