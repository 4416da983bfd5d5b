"""`python -m benchmarks.decoding`: tokens decoded by transformers and by opdkit's own step, alternating."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.cases import QWEN_1B, SMALL, SMOLLM2
from benchmarks.models import BareTokenizer, batch_of, student_and_teacher
from benchmarks.shapes import UpdateShape
from opdkit import device
from opdkit.data.rollout import Prompts
from opdkit.models import Decoder, LanguageModel, decoding

SHAPES: Mapping[str, UpdateShape] = {
    "small": replace(SMALL, response=64),
    "smollm2": replace(SMOLLM2, prompt=32, response=32),
    "qwen_1b": replace(QWEN_1B, response=48),
}


@dataclass(frozen=True)
class Pass:
    """One decoded batch: milliseconds per token after the prompts, and the logits f[rows, V] of every token."""

    milliseconds: float
    logits: list[Tensor]


@torch.no_grad()
def decode(model: LanguageModel, prompts: Prompts, tokens: Tensor, *, directly: bool) -> Pass:
    """Decode tokens i64[rows, T] after the prompts, by `DirectStep` or by transformers."""
    step = decoding.direct_step if directly else _none
    with patch.object(decoding, "direct_step", step):
        decoder = Decoder(model, prompts, tokens.shape[1])
        decoder.start()
        device.synchronize()
        started = time.perf_counter()
        logits = [decoder.advance(column) for column in tokens.T]
        device.synchronize()
    return Pass(1e3 * (time.perf_counter() - started) / tokens.shape[1], logits)


def _none(*_: object) -> None:
    return None


def compare(shape: UpdateShape, dtype: torch.dtype, padded: bool, repeats: int) -> str:
    """A line with both times per token, and the largest difference of a logit."""
    module = student_and_teacher(shape, use_cache=True)[0].to(dtype).eval().requires_grad_(False)
    model = LanguageModel(module, BareTokenizer(), "model", shape.vocabulary)
    batch = batch_of(shape)
    mask = torch.ones_like(batch.prompt, dtype=torch.bool)
    if padded:
        mask[::2, : shape.prompt // 4] = False
    prompts = Prompts(batch.prompt, mask, ())
    theirs, own, apart = list[float](), list[float](), 0.0
    for _ in range(repeats):
        first, second = (decode(model, prompts, batch.response, directly=way) for way in (False, True))
        theirs.append(first.milliseconds)
        own.append(second.milliseconds)
        pairs = zip(first.logits, second.logits, strict=True)
        apart = max(apart, max((a - b).abs().max().item() for a, b in pairs))
    best, middle = min(theirs) / min(own), statistics.median(theirs) / statistics.median(own)
    rows = "padded" if padded else "equal"
    return (
        f"{str(dtype)[6:]}, {rows} prompts: {min(theirs):.2f} ms per token by transformers, {min(own):.2f} directly: "
        f"{best:.2f} times as fast by minima, {middle:.2f} by medians; logits differ by at most {apart:.3g}"
    )


def main(arguments: Sequence[str]) -> int:
    """Print a line for each shape, dtype and kind of prompts."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    options.add_argument("--only", choices=SHAPES, action="append", help="this shape (small and smollm2)")
    options.add_argument("--repeats", type=int, default=5, help="pairs of passes (5)")
    options.add_argument("--threads", type=int, default=2, help="CPU threads (2)")
    chosen = options.parse_args(list(arguments))
    torch.set_num_threads(chosen.threads)
    for name in chosen.only or ("small", "smollm2"):
        print(f"{name}: {SHAPES[name].describe()}")
        for dtype in (torch.float32, torch.bfloat16):
            for padded in (False, True):
                print(f"  {compare(SHAPES[name], dtype, padded, chosen.repeats)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
