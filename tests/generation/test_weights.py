"""The folder of weights: every version is what save_pretrained writes, also where it is written in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from opdkit.generation.weights import WeightsFolder
from tests.tiny import tiny_model


@pytest.mark.parametrize("tied", [True, False])
def test_each_version_is_what_save_pretrained_writes(tied: bool, tmp_path: Path) -> None:
    folder = WeightsFolder(None)
    file = folder.path / "model.safetensors"
    half = tiny_model(3, tie_word_embeddings=tied)
    models = [tiny_model(seed, tie_word_embeddings=tied) for seed in range(3)]
    models += [replace(half, module=half.module.to(torch.bfloat16)), tiny_model(4, hidden_size=64)]
    for model in models:
        folder.write(model)
        model.module.save_pretrained(tmp_path)
        ours, expected = load_file(file), load_file(tmp_path / "model.safetensors")
        assert ours.keys() == expected.keys()
        for name, value in expected.items():
            assert ours[name].dtype == value.dtype
            assert torch.equal(ours[name], value)
    folder.remove()
