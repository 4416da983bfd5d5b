"""What the table of architectures says of each: scores, greedy answers and training steps beside transformers' own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import Completion, HFRollout, Turn, pack
from opdkit.models import LanguageModel, ModelSpec, Request, Scorer, load, prove_packing
from opdkit.models.cache import new_cache
from opdkit.samplers import Greedy
from tests.models.tiny_architectures import Architecture
from tests.tiny import rendered, tiny_problems, written

TOKENS = 8
CACHES = {
    "GrowingLayer": "keys and values",
    "DynamicSlidingWindowLayer": "window",
    "LinearAttentionLayer": "states",
    "LinearAttentionAndFullAttentionLayer": "keys, values and states",
    "LightningCache": "keys and values, states",
    "DummyLayer": None,
}


@dataclass(frozen=True)
class Finding:
    """What was found.

    score_error: the largest difference of a sampled token's log-prob, in nats. gradient_error: the length of the
    difference of the gradients, as a share of the gradient's.
    packing_error: the larger of both between rows one behind another and rows with padding, 0 where that is refused.
    same_greedy: whether every answer is that of `generate`. losses: of two training steps.
    moved: whether every weight that had a gradient changed, with lm_head among them. cells: of the table's row.
    """

    score_error: float
    gradient_error: float
    packing_error: float
    same_greedy: bool
    losses: tuple[float, ...]
    moved: bool
    cells: tuple[str, ...]


def examine(architecture: Architecture, folder: Path) -> Finding:
    """Save a tiny model of it, load it as a user's, and compare."""
    architecture.save(folder)
    model = load(ModelSpec(str(folder)), trains=True)
    pairs = rendered(model, tiny_problems(3))
    rollout = written(HFRollout(TOKENS, 256, 64), model, pairs, Greedy(), 1.0, [0, 1, 2])
    ours, theirs = scores_of(model, rollout), dense(model, rollout)
    error = float((ours - theirs).abs().max().detach())
    slope, wanted = gradients(model, ours), gradients(model, theirs)
    slope_error = float((slope - wanted).norm() / wanted.norm())
    answers = [row[mask].tolist() for row, mask in zip(rollout.tokens, rollout.sampled_mask, strict=True)]
    same = answers == [generated(model, ids) for _, ids in pairs]
    cells = (architecture.name, f"`{architecture.kind}`", f"`{type(model.module).__name__}`", model.attention)
    cells = (*cells, kept(model), "leave" if model.drops_rows else "stay")
    packing_error = packed_beside_padded(model)
    cells = (*cells, "no" if packing_error is None else "yes")
    losses, moved = trained(model, rollout)
    return Finding(error, slope_error, packing_error or 0.0, same, losses, moved, cells)


def packed_beside_padded(model: LanguageModel) -> float | None:
    """The larger of the errors of scores and gradient where rows of very different lengths are packed."""
    try:
        packed = prove_packing(model, "model")
    except UserError:
        return None
    drawn = torch.randint(0, 250, (5, 30), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [
        (Turn(tuple(ids[:3]), Completion(tuple(ids[3 : 3 + n]), torch.zeros(n), torch.zeros(n), "stop")),)
        for ids, n in zip(drawn, (24, 3, 9, 1, 6), strict=True)
    ]
    rollout = pack(model, rows, tiny_problems(5))
    ours, theirs = scores_of(packed, rollout), scores_of(model, rollout)
    slope, wanted = gradients(model, ours), gradients(model, theirs)
    return max(float((ours - theirs).abs().max().detach()), float((slope - wanted).norm() / wanted.norm()))


def scores_of(model: LanguageModel, rollout: Rollout) -> Tensor:
    """f32[N], log-probs of the sampled tokens from the scorer."""
    scores = Scorer(model)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0)
    assert scores.sampled_log_prob is not None
    return scores.sampled_log_prob[rollout.sampled_mask]


def dense(model: LanguageModel, rollout: Rollout) -> Tensor:
    """The same from the module's own log-softmax, row by row without padding."""
    found: list[Tensor] = []
    for row in range(len(rollout.tokens)):
        prompt = rollout.prompts.ids[row][rollout.prompts.attention_mask[row]]
        response = rollout.tokens[row][rollout.sampled_mask[row]]
        logits = model.module(input_ids=torch.cat([prompt, response])[None], use_cache=False).logits[0].float()
        found.append(logits[len(prompt) - 1 : -1].log_softmax(-1).gather(1, response[:, None])[:, 0])
    return torch.cat(found)


def gradients(model: LanguageModel, log_prob: Tensor) -> Tensor:
    """f32[P], the gradient of the mean negative log-prob by all weights."""
    weights = [p for p in model.module.parameters() if p.requires_grad]
    found = torch.autograd.grad(-log_prob.mean(), weights, allow_unused=True)
    pairs = zip(found, weights, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def generated(model: LanguageModel, ids: list[int]) -> list[int]:
    """A greedy answer from transformers' `generate`, to one prompt alone."""
    given = torch.tensor([ids])
    with torch.no_grad():
        answer = model.module.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            do_sample=False,
            max_new_tokens=TOKENS,
            pad_token_id=model.pad_id,
        )
    return answer[0, len(ids) :].tolist()


def trained(model: LanguageModel, rollout: Rollout) -> tuple[tuple[float, ...], bool]:
    """The losses of two steps, and whether the weights that had a gradient moved."""
    optimizer = torch.optim.AdamW([p for p in model.module.parameters() if p.requires_grad], lr=1e-3)
    scorer = Scorer(model).train()
    before = {name: p.detach().clone() for name, p in model.module.named_parameters()}
    losses: list[float] = []
    for _ in range(2):
        scores = scorer(rollout, rollout.sampled_mask, Request(sampled=True), 1.0)
        assert scores.sampled_log_prob is not None
        loss = -scores.sampled_log_prob[rollout.sampled_mask].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    graded = {name: p for name, p in model.module.named_parameters() if p.grad is not None and bool(p.grad.any())}
    head = model.module.get_output_embeddings().weight
    moved = all(not torch.equal(p, before[name]) for name, p in graded.items())
    return tuple(losses), moved and any(p is head for p in graded.values())


def kept(model: LanguageModel) -> str:
    """What the cache holds, in words."""
    cache = new_cache(model.module)
    kinds = [type(cache).__name__] if not cache.layers else [type(layer).__name__ for layer in cache.layers]
    words = dict.fromkeys(CACHES.get(kind, kind) for kind in kinds)
    return ", ".join(word for word in words if word)
