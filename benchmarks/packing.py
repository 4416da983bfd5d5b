"""`python -m benchmarks.packing`: forward and backward over rows of uneven length, padded and packed, alternating."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import torch

from benchmarks.models import BareTokenizer, student_and_teacher
from benchmarks.shapes import UpdateShape
from opdkit.data.problem import Problem
from opdkit.data.rollout import Rollout
from opdkit.generation import Completion, Turn, pack
from opdkit.models import LanguageModel, Request, Scorer, prove_packing

_PROMPT = 48
_SHAPE = UpdateShape(
    vocabulary=256, width=256, layers=6, heads=8, key_value_heads=4, intermediate=768, prompt=_PROMPT, response=1000,
    architecture="llama",
)  # fmt: skip
RESPONSES: Mapping[str, tuple[int, ...]] = {
    "one of 1,000 tokens and 15 of 50": (1000, *[50] * 15),
    "from 16 to 256 tokens, evenly": tuple(range(16, 257, 16)),
    "all of 128 tokens": (128,) * 16,
}


class _Tokenizer(BareTokenizer):
    def __len__(self) -> int:
        return _SHAPE.vocabulary


def rollout_of(model: LanguageModel, lengths: Sequence[int]) -> Rollout:
    """Rows of random ids with responses of these lengths."""
    source = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, _SHAPE.vocabulary, (count,), generator=source).tolist())

    rows = [(Turn(ids(_PROMPT), Completion(ids(n), torch.zeros(n), torch.zeros(n), "stop")),) for n in lengths]
    return pack(model, rows, [Problem("", (), "")] * len(rows))


def pass_seconds(model: LanguageModel, rollout: Rollout) -> float:
    """Seconds for scoring the sampled tokens, forward and backward."""
    started = time.perf_counter()
    scores = Scorer(model)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0)
    assert scores.sampled_log_prob is not None
    scores.sampled_log_prob.sum().backward()
    model.module.zero_grad(set_to_none=True)
    return time.perf_counter() - started


def compare(lengths: Sequence[int], repeats: int) -> tuple[float, float]:
    """The speed-up of packed rows, by minima and by medians."""
    padded = LanguageModel(student_and_teacher(_SHAPE)[0], _Tokenizer(), "model", _SHAPE.vocabulary)
    packed = prove_packing(padded, "model")
    rollout = rollout_of(padded, lengths)
    pairs = [(pass_seconds(padded, rollout), pass_seconds(packed, rollout)) for _ in range(repeats + 1)][1:]
    apart, together = zip(*pairs, strict=True)
    return min(apart) / min(together), statistics.median(apart) / statistics.median(together)


def main(arguments: Sequence[str]) -> int:
    """Print a line for each set of rows."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.packing", description=__doc__)
    options.add_argument("--repeats", type=int, default=5, help="pairs of passes (5)")
    options.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    chosen = options.parse_args(list(arguments))
    torch.set_num_threads(chosen.threads)
    for name, lengths in RESPONSES.items():
        real = sum(lengths) + _PROMPT * len(lengths)
        share = real / (len(lengths) * (_PROMPT + max(lengths)))
        best, middle = compare(lengths, chosen.repeats)
        told = f"responses {name} ({share:.0%} no padding)"
        print(f"{told}: packed {best:.2f} times as fast by minima, {middle:.2f} by medians")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
