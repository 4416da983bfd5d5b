"""The decoding step of Llama-like models in plain torch.

For small models, most of transformers' time per token is Python: masks, decorators, module calls. `DirectStep` computes
the same operations in the same order on the same weights and cache, so its logits are those of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    LlamaForCausalLM,
    MistralForCausalLM,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
    activations,
)

from opdkit.models.cache import PAST_NAMES, GrowingLayer, argument_names, new_cache

_CLASSES = (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
_PLAIN = (nn.Linear, nn.Embedding, nn.ModuleList, nn.SiLU)

# The largest difference of logits, relative to the largest logit, with which a model counts as computed correctly.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}
_TOLERANCE_16_BITS = 2e-2

# Whether a module's logits computed here agree with transformers'.
_agrees: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


@dataclass(frozen=True)
class _Linear:
    """y = x W^T + b, on a layer's own tensors."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class _Norm:
    """RMSNorm, computed in float32."""

    weight: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        wide = x.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * normed.to(x.dtype)


@dataclass(frozen=True)
class _Layer:
    """The parts of a decoder layer, by transformers' names. q_norm, k_norm: per head, None if the model has none."""

    input_norm: _Norm
    q: _Linear
    k: _Linear
    v: _Linear
    o: _Linear
    q_norm: _Norm | None
    k_norm: _Norm | None
    scaling: float
    width: int
    output_norm: _Norm
    gate: _Linear
    up: _Linear
    down: _Linear

    def __call__(self, x: Tensor, rotary: tuple[Tensor, Tensor], cache: GrowingLayer, mask: Tensor | None) -> Tensor:
        """The hidden states f[n, 1, D] after this layer; appends one token per row to its cache."""
        x = x + self._attention(self.input_norm(x), rotary, cache, mask)
        hidden = self.output_norm(x)
        return x + self.down(F.silu(self.gate(hidden)) * self.up(hidden))

    def _attention(self, x: Tensor, rotary: tuple[Tensor, Tensor], cache: GrowingLayer, mask: Tensor | None) -> Tensor:
        rows = len(x)
        q, k, v = (part(x).view(rows, 1, -1, self.width) for part in (self.q, self.k, self.v))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        heads, groups = q.shape[2], k.shape[2]
        grouped = heads != groups
        rotated = _rotate(torch.cat((q, k), dim=2).transpose(1, 2), *rotary)
        keys, values = cache.update(rotated[:, heads:], v.transpose(1, 2))
        query = rotated[:, :heads]
        if grouped and mask is not None:
            # With a mask, torch's kernels want as many heads of queries as of keys: a group's queries become rows.
            query = query.reshape(rows, groups, heads // groups, self.width)
        out = F.scaled_dot_product_attention(
            query, keys, values, attn_mask=mask, scale=self.scaling, enable_gqa=grouped and mask is None
        )
        return self.o(out.reshape(rows, 1, heads * self.width))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x f[n, heads, 1, width]. sin: negative in its first half."""
    return (x * cos).add_(x.roll(x.shape[-1] // 2, dims=-1) * sin)


class DirectStep:
    """Computes the logits of one more token per row, like the module's forward pass with a cache."""

    def __init__(self, module: Any, cache: DynamicCache, attention: Tensor) -> None:
        """attention: i64[n, T] of the tokens in the cache, 0 at the padding left of the prompts."""
        self._cache = cache
        self._rotary: nn.Module = module.model.rotary_emb
        self._layers = [_read_layer(layer) for layer in module.model.layers]
        self._embedding: Tensor = module.model.embed_tokens.weight
        self._norm = _read_norm(module.model.norm)
        self._head = _read_linear(module.lm_head)
        self._mask = _mask(attention)

    def __call__(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Append tokens i64[n] at positions i64[n, 1]. Returns the next logits f[n, V]."""
        if self._mask is not None:
            self._mask = F.pad(self._mask, (0, 1), value=True)
        return self._logits(tokens, positions)

    def keep(self, index: Tensor) -> None:
        """Keep only the rows in `index` i64[n]; the caller does so with the cache."""
        if self._mask is not None:
            self._mask = _mask(self._mask[index, 0, 0])

    def _logits(self, tokens: Tensor, positions: Tensor) -> Tensor:
        x = F.embedding(tokens[:, None], self._embedding)
        cos, sin = self._rotary(x, positions)
        half = sin.shape[-1] // 2
        rotary = cos[:, None], torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)[:, None]
        for layer, cached in zip(self._layers, self._cache.layers, strict=True):
            assert isinstance(cached, GrowingLayer)  # checked by `direct_step`
            x = layer(x, rotary, cached, self._mask)
        return self._head(self._norm(x))[:, -1]


def direct_step(module: Any, cache: DynamicCache, attention: Tensor) -> DirectStep | None:
    """The step that continues from `cache`, None for a module that it does not compute.

    attention: i64[n, T] of the tokens in the cache, 0 at the padding left of the prompts.
    A module of a known class is compared with transformers once, on a few tokens: the class may differ in another
    version of transformers.
    """
    if not _applies(module, cache):
        return None
    if module not in _agrees:
        _agrees[module] = _compare(module)
    return DirectStep(module, cache, attention) if _agrees[module] else None


@torch.no_grad()
def _compare(module: Any) -> bool:
    """Whether transformers' logits of the fourth token of two rows, one of them padded, equal those computed here."""
    ids = torch.arange(8, device=module.device).view(2, 4) % module.config.vocab_size
    attention = torch.ones_like(ids)
    attention[1, 0] = 0
    positions = (attention.cumsum(dim=1) - 1).clamp(min=0)
    cache = new_cache(module)
    past = dict.fromkeys(argument_names(module).intersection(PAST_NAMES), cache)

    def read(start: int, stop: int) -> Tensor:
        place = slice(start, stop)
        answer = module(ids[:, place], attention[:, :stop], positions[:, place], use_cache=True, **past)
        return answer.logits[:, -1]

    read(0, 3)
    expected = read(3, 4)
    cache.crop(-1)
    found = DirectStep(module, cache, attention[:, :3])(ids[:, 3], positions[:, 3:])
    return bool((found - expected).abs().amax() <= _tolerance(module) * expected.abs().amax())


def _tolerance(module: Any) -> float:
    if torch.is_autocast_enabled(module.device.type):
        return _TOLERANCE_16_BITS
    return _TOLERANCE.get(module.dtype, _TOLERANCE_16_BITS)


def _applies(module: Any, cache: DynamicCache) -> bool:
    """Whether `DirectStep` can compute this module: a known class with full attention by sdpa, plain linear layers, no
    hooks, and unsharded weights."""
    if type(module) not in _CLASSES:
        return False
    if module.config._attn_implementation != "sdpa" or module.config.hidden_act != "silu":
        return False
    if not all(type(layer) is GrowingLayer for layer in cache.layers):
        return False
    own = type(module).__module__
    return all(_is_plain(part, own) for part in module.modules())


def _is_plain(part: nn.Module, own: str) -> bool:
    """Whether a module computes by a class of the Python module `own` or a plain layer, and holds plain tensors.

    Adapters, for example, replace linear layers by others that still have a `weight`.
    """
    kind = type(part)
    if part._forward_hooks or part._forward_pre_hooks or "forward" in vars(part):
        return False
    if kind.__module__ not in (own, activations.__name__) and kind not in _PLAIN:
        return False
    return all(weight is None or type(weight) is nn.Parameter for weight in part._parameters.values())


def _read_layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    per_head = isinstance(getattr(attention, "q_norm", None), nn.Module)
    return _Layer(
        input_norm=_read_norm(layer.input_layernorm),
        q=_read_linear(attention.q_proj),
        k=_read_linear(attention.k_proj),
        v=_read_linear(attention.v_proj),
        o=_read_linear(attention.o_proj),
        q_norm=_read_norm(attention.q_norm) if per_head else None,
        k_norm=_read_norm(attention.k_norm) if per_head else None,
        scaling=attention.scaling,
        width=attention.head_dim,
        output_norm=_read_norm(layer.post_attention_layernorm),
        gate=_read_linear(mlp.gate_proj),
        up=_read_linear(mlp.up_proj),
        down=_read_linear(mlp.down_proj),
    )


def _read_linear(linear: Any) -> _Linear:
    return _Linear(linear.weight, linear.bias)


def _read_norm(norm: Any) -> _Norm:
    return _Norm(norm.weight, norm.variance_epsilon)


def _mask(attention: Tensor) -> Tensor | None:
    """The mask of attention bool[n, 1, 1, T], None if nothing is masked, as in transformers."""
    seen = attention.bool()
    return None if bool(seen.all()) else seen[:, None, None]
