"""A loaded causal language model with its tokenizer, as used by the rest of opdkit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from opdkit.data.problem import Message
from opdkit.data.scores import Scores
from opdkit.heads import Head
from opdkit.models.template import chat_text


class Adapter(Protocol):
    """Trainable adapters in the layers of a frozen model."""

    @property
    def merges(self) -> bool:
        """Whether the run's final checkpoint is a merged model."""
        ...

    @property
    def low_rank(self) -> int | None:
        """The rank of the adapters. None if full modules were trained as well."""
        ...

    def disabled(self) -> AbstractContextManager[None]:
        """A context in which the model runs without the adapters."""
        ...

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write an adapter folder that names the base model. weights: the trained tensors by state-dict name, for a
        sharded module; None to take them from the module."""
        ...

    def save_final(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write the final checkpoint; the model must not be used afterwards. weights: see `save`; all if `merges`."""
        ...

    def save_merged(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the model with the adapters merged into its weights. weights: all tensors by name."""
        ...

    def save_base(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the base model without the adapters. weights: see `save_merged`."""
        ...

    def around(self, module: Any) -> Adapter:
        """Attach new adapters of the same shapes to another model of the same architecture, in place."""
        ...


class Shards(Protocol):
    """One model's weights sharded over the ranks. All methods are collective: every rank must call them, and `scored`
    within `Placement.together`."""

    @property
    def bytes(self) -> int:
        """The size of this rank's shards in bytes."""
        ...

    @property
    def device(self) -> torch.device:
        """Where the model computes; its parts may lie in the host's memory."""
        ...

    def scored(self, score: Callable[[], Scores]) -> Scores:
        """The result of `score`, called with weights all-gathered layer by layer. Gradients of its tensors are
        reduce-scattered (summed) to the shards."""
        ...

    def whole(self) -> AbstractContextManager[None]:
        """A context with all weights gathered on every rank, for independent forward passes without gradient."""
        ...

    def rest(self) -> None:
        """Free gathered weights, so that the parameters are this rank's shards."""
        ...

    def copied(self, model: LanguageModel) -> LanguageModel:
        """A copy of the model with the same weights and sharding."""
        ...

    def named_parts(self) -> Mapping[str, nn.Parameter]:
        """This rank's shards of the parameters, by name."""
        ...

    def seen_in_passes(self, names: Sequence[str]) -> list[nn.Parameter]:
        """The unsharded parameters of these names, as seen by a backward pass: gradients are full and not reduced."""
        ...

    def gathered(self) -> dict[str, Tensor]:
        """The full state dict on the CPU of rank 0, empty on the others; only the trained tensors if the model's
        adapters are saved separately."""
        ...

    def sum_over_copies(self) -> None:
        """All-reduce (sum) the gradients of the shards over the model replicas."""
        ...

    def over_parts(self, value: Tensor) -> Tensor:
        """Sum over the shards of one replica a value that is the same on all ranks with the same shard."""
        ...

    def clip(self, limit: float) -> float:
        """Clip the gradients to a global norm over all ranks. Returns the norm before clipping."""
        ...


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer.

    Attributes:
        module: a transformers causal LM.
        tokenizer: its tokenizer.
        name: the path or hub id given by the user.
        vocabulary: the number of valid ids. Padded rows of lm_head beyond it are never sampled or scored.
        template_kwargs: variables of the chat template besides the messages.
        drops_rows: whether rows can be dropped from a batch during decoding.
        refusal: why the model can't be decoded with, None if it can.
        autocast: the dtype of computation during generation, None for that of the weights.
        adapter: the adapters that are trained instead of its weights, None if there are none.
        shards: the sharded weights, None if every rank holds the full model.
        packed: whether scoring packs rows into shared sequences without padding between them.
    """

    module: Any
    tokenizer: Any
    name: str
    vocabulary: int
    template_kwargs: Mapping[str, object] = field(default_factory=dict)
    drops_rows: bool = True
    refusal: str | None = None
    autocast: torch.dtype | None = None
    adapter: Adapter | None = None
    shards: Shards | None = None
    packed: bool = False

    @property
    def device(self) -> torch.device:
        return self.module.device if self.shards is None else self.shards.device

    @property
    def positions(self) -> int | None:
        """The maximum sequence length of the model's position encoding, None if its config does not say."""
        return getattr(self.module.config.get_text_config(), "max_position_embeddings", None)

    @property
    def attention(self) -> str:
        """The attention implementation in use, by transformers' name."""
        return str(self.module.config.get_text_config()._attn_implementation)

    @property
    def reads_one_line(self) -> bool:
        """Whether packed rows share one sequence: flash attention detects packing only there, and computes no attention
        between rows."""
        return "flash" in self.attention

    @property
    def mebibytes(self) -> float:
        """The size of the weights in this process, counting shared ones once."""
        if self.shards is not None:
            return self.shards.bytes / 2**20
        return sum(p.numel() * p.element_size() for p in self.module.parameters()) / 2**20

    @property
    def pad_id(self) -> int:
        """The padding id: the tokenizer's pad token, else its end of sequence, else 0."""
        for name in ("pad_token_id", "eos_token_id"):
            if (found := getattr(self.tokenizer, name, None)) is not None:
                return int(found)
        return 0

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end a response: the generation config's and the tokenizer's."""
        named = getattr(self.module.generation_config, "eos_token_id", None)
        listed = named if isinstance(named, list) else [named]
        return frozenset(int(i) for i in [*listed, self.tokenizer.eos_token_id] if i is not None)

    @property
    def cache_bytes(self) -> int:
        """The key-value cache per token in bytes, an upper bound with sliding-window or recurrent layers."""
        config = self.module.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * width * self.module.dtype.itemsize

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat with its generation prompt. Without a chat template, the plain texts."""
        if self.tokenizer.chat_template is None:
            return self.tokenizer.encode("\n".join(m.content for m in messages))
        return self.tokenizer.encode(self.render_text(messages), add_special_tokens=False)

    def render_text(self, messages: Sequence[Message]) -> str:
        """The text of a chat with its generation prompt, by the chat template."""
        return chat_text(self.tokenizer, messages, self.name, self.template_kwargs)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without the stop token and the padding after it."""
        kept = list(ids)
        while kept and (kept[-1] in self.stop_ids or kept[-1] == self.pad_id):
            kept.pop()
        return self.tokenizer.decode(kept, skip_special_tokens=False)

    def body(self) -> nn.Module:
        """The transformer without lm_head."""
        return getattr(self.module, self.module.base_model_prefix)

    def head(self) -> Head:
        """The current lm_head; its weights are shared with the module, not copied."""
        return read_head(self.module, self.vocabulary)

    def whole(self) -> AbstractContextManager[None]:
        """A context with all weights on this rank, for independent work such as generation. Collective."""
        return nullcontext() if self.shards is None else self.shards.whole()

    def own_parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters by name, or this rank's shards of them."""
        return dict(self.module.named_parameters()) if self.shards is None else self.shards.named_parts()

    def copied(self) -> LanguageModel:
        """A copy of the model without gradients, with the same placement."""
        if self.shards is not None:
            return self.shards.copied(self)
        return replace(self, module=copy.deepcopy(self.module).requires_grad_(False))

    def restricted(self, vocabulary: int) -> LanguageModel:
        """The same model restricted to the first `vocabulary` ids."""
        return replace(self, vocabulary=min(vocabulary, self.vocabulary))


def bare_copy(module: Any) -> Any:
    """A module of the same class, config and dtype on the CPU, with uninitialised weights."""
    made: Any = type(module)(module.config).to(module.dtype)
    made.generation_config = module.generation_config
    return made.eval()


def read_head(module: Any, vocabulary: int) -> Head:
    """lm_head's weights and the architecture's logit scaling, from module and config.

    Cohere multiplies by logit_scale, Granite divides by logits_scaling, Falcon-H1 has lm_head_multiplier,
    Gemma caps with tanh. `opdkit.models.checks.check_head` verifies the result on real hidden states.
    """
    linear = module.get_output_embeddings()
    config = module.config.get_text_config()
    scale = 1.0
    for name, power in (("logit_scale", 1), ("lm_head_multiplier", 1), ("logits_scaling", -1)):
        if isinstance(found := getattr(config, name, None), int | float):
            scale *= float(found) ** power
    softcap = getattr(config, "final_logit_softcapping", None)
    bias: Tensor | None = getattr(linear, "bias", None)
    tied = module.get_input_embeddings().weight is linear.weight
    return Head(linear.weight, bias, scale, softcap, min(vocabulary, linear.weight.shape[0]), tied)
