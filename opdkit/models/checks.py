"""Verifies a loaded model before use: its lm_head, and decoding with a cache."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from opdkit.data.rollout import Prompts
from opdkit.errors import UserError
from opdkit.heads import support_logits
from opdkit.models.decoding import Decoder
from opdkit.models.language_model import LanguageModel, read_head
from opdkit.models.template import first_line

# Lengths of three left-padded prompts, and the number of decoding steps; the middle row leaves the batch halfway.
_PROMPTS, _STEPS = (5, 2, 7), 6


@torch.no_grad()
def check_head(model: LanguageModel, key: str) -> None:
    """Compare a few logits of the streamed head with the module's own. Raises UserError if they differ."""
    head = read_head(model.module, model.vocabulary)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, min(head.vocabulary, len(model.tokenizer)), (1, 8), generator=generator)
    ids = ids.to(model.device)
    hidden = model.body()(input_ids=ids, use_cache=False).last_hidden_state[0]
    wanted = torch.randint(0, head.vocabulary, (8, 32), generator=generator).to(model.device)
    expected = model.module(input_ids=ids, use_cache=False).logits[0].float().gather(1, wanted)
    found = support_logits(hidden, head, wanted, 1.0)
    error = (found.float() - expected).abs().max().item()
    if not error <= _tolerance(model, expected):
        raise UserError(
            f"{key}.path={model.name!r}: the architecture {type(model.module).__name__} changes its logits in a way "
            f"that opdkit does not know (they differ by {error:.3g}); it can't be trained exactly"
        )


@torch.no_grad()
def prove_decoding(model: LanguageModel, key: str) -> LanguageModel:
    """Decode a few tokens and compare their logits with those of one forward pass over the whole sequences.

    Decoding uses left-padded prompts and drops a row; the forward pass is laid out as in the scorer: right padding, no
    cache, no mask. Returns the model with `drops_rows` false if decoding is exact only while finished rows stay in the
    batch, and with `refusal` set if it is not exact at all.
    """
    generator = torch.Generator().manual_seed(0)
    width = max(_PROMPTS) + _STEPS
    drawn = torch.randint(0, min(model.vocabulary, len(model.tokenizer)), (len(_PROMPTS), width), generator=generator)
    sequences = [row[: length + _STEPS] for row, length in zip(drawn, _PROMPTS, strict=True)]
    name = type(model.module).__name__
    for tried in (model, replace(model, drops_rows=False)):
        try:
            whole = _whole(model, sequences)
            error = _distance(_decoded(tried, sequences), whole, exact=model.module.dtype == torch.float32)
        except Exception as raised:  # an incompatible module may raise anything
            why = f"opdkit can't decode with the architecture {name}: {first_line(raised)}"
            continue
        if error <= _tolerance(model, torch.cat(whole)):
            return tried
        why = (
            f"decoding with the architecture {name} gives other logits than a forward pass over the whole text "
            f"(they differ by {error:.3g}); what it samples could not be trained on exactly"
        )
    return replace(model, refusal=f"{key}.path={model.name!r}: {why}")


def _distance(ours: list[Tensor], theirs: list[Tensor], *, exact: bool) -> float:
    """The maximum difference between two lists of logits [n, V]; without `exact`, the maximum of the rows' medians.

    In half precision, rounding may make an MoE router choose other experts: a few tokens may differ, but not most.
    """
    errors = [(one - other).abs().amax(dim=1) for one, other in zip(ours, theirs, strict=True)]
    worst = torch.stack([row.max() if exact else row.median() for row in errors])
    return float(worst.nan_to_num(float("inf")).max())


def _decoded(model: LanguageModel, sequences: list[Tensor]) -> list[Tensor]:
    """Logits f32[n, V] of each sequence from the decoding loop, one row per step."""
    longest = max(_PROMPTS)
    ids = torch.full((len(sequences), longest), model.pad_id)
    mask = torch.zeros((len(sequences), longest), dtype=torch.bool)
    for row, length in enumerate(_PROMPTS):
        ids[row, longest - length :] = sequences[row][:length]
        mask[row, longest - length :] = True
    decoder = Decoder(model, Prompts(ids.to(model.device), mask.to(model.device), ()))
    found: list[list[Tensor]] = [[] for _ in sequences]
    alive = list(range(len(sequences)))
    logits = decoder.start()
    for step in range(_STEPS):
        for place, row in enumerate(alive):
            found[row].append(logits[place])
        if step == _STEPS // 2:
            left = [place for place, row in enumerate(alive) if row != 1]
            decoder.keep(torch.tensor(left, device=model.device))
            alive = [alive[place] for place in left]
        logits = decoder.advance(torch.stack([sequences[r][_PROMPTS[r] + step] for r in alive]).to(model.device))
    return [torch.stack(rows) for rows in found]


def _whole(model: LanguageModel, sequences: list[Tensor]) -> list[Tensor]:
    """The same logits from one forward pass."""
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=model.pad_id)
    logits = model.module(input_ids=ids.to(model.device), use_cache=False).logits[..., : model.vocabulary].float()
    steps = (_STEPS, _STEPS // 2 + 1, _STEPS)
    return [logits[row, start - 1 : start - 1 + steps[row]] for row, start in enumerate(_PROMPTS)]


def _tolerance(model: LanguageModel, expected: Tensor) -> float:
    """The allowed difference of logits, relative to the largest one."""
    share = 1e-3 if model.module.dtype == torch.float32 else 6e-2
    return share * max(1.0, expected.abs().max().item())
