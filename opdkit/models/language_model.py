"""Defines a loaded causal language model with its tokenizer, as the rest of opdkit sees it."""

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
    """What is trained in the layers of a model whose own weights stay."""

    @property
    def merges(self) -> bool:
        """Whether a run ends with a whole model."""
        ...

    @property
    def low_rank(self) -> int | None:
        """The rank of what was trained. None where whole modules were, too."""
        ...

    def disabled(self) -> AbstractContextManager[None]:
        """The model as it is without."""
        ...

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write a folder that names the model and holds what was trained. weights: that, by name of the module's state
        dict, where the module holds parts; None for the module's own."""
        ...

    def save_final(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write what a run ends with; the model is not used again. weights: see `save`, with `merges` all of them."""
        ...

    def save_merged(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the whole model with what was trained added to its weights. weights: all, by name."""
        ...

    def save_base(self, folder: Path, weights: Mapping[str, Tensor]) -> None:
        """Write the whole model as it is without. weights: see `save_merged`."""
        ...

    def around(self, module: Any) -> Adapter:
        """New adapters of the same shapes in another model like this one, which is changed in place."""
        ...


class Shards(Protocol):
    """The parts of one model that lie in the processes. Every process calls each method, `scored` within
    `Placement.together`."""

    @property
    def bytes(self) -> int:
        """What this process's part takes."""
        ...

    def scored(self, score: Callable[[], Scores]) -> Scores:
        """What `score` gives, called while the weights are gathered layer by layer. Gradients of its tensors flow back
        to the parts, added up over the processes."""
        ...

    def whole(self) -> AbstractContextManager[None]:
        """All weights in every process, for passes without gradient that each makes by itself."""
        ...

    def rest(self) -> None:
        """Let go of what is gathered. Parameters are then this process's parts."""
        ...

    def copied(self, model: LanguageModel) -> LanguageModel:
        """A model of its own with the same weights, divided in the same way."""
        ...

    def named_parts(self) -> Mapping[str, nn.Parameter]:
        """The parameters by name, each this process's part of a whole."""
        ...

    def seen_in_passes(self, names: Sequence[str]) -> list[nn.Parameter]:
        """The parameters of these names as a backward pass sees them: their gradients are one process's, and whole."""
        ...

    def gathered(self) -> dict[str, Tensor]:
        """The whole state dict on the CPU of the main process, and nothing in the others; of a model whose adapters are
        saved by themselves, what is trained."""
        ...

    def sum_over_copies(self) -> None:
        """Replace the gradient of each part by its sum over the groups of processes that hold the whole model."""
        ...

    def over_parts(self, value: Tensor) -> Tensor:
        """The sum over the parts of one copy, of what is the same for all who hold the same part."""
        ...

    def clip(self, limit: float) -> float:
        """Scale the gradients down to a global norm. The norm before, of all processes together."""
        ...


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer.

    Attributes:
        module: a transformers causal LM.
        tokenizer: its tokenizer.
        name: what the user typed.
        vocabulary: how many ids exist. Padded rows of lm_head beyond it are never sampled or scored.
        template_kwargs: what the chat template is given beside the messages.
        drops_rows: whether rows may leave a batch that is being decoded.
        refusal: why nothing can be decoded with it, None where it can.
        autocast: the dtype that generation computes in, None for that of the weights.
        adapter: the adapters in its layers that are trained in its stead, None where there are none.
        shards: its parts in the processes of the run, None where each has the whole model.
        packed: whether rows that are scored share a sequence, one behind another and without padding between them.
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
        return self.module.device

    @property
    def positions(self) -> int | None:
        """The longest sequence that the model knows positions for, None where its configuration names none."""
        return getattr(self.module.config.get_text_config(), "max_position_embeddings", None)

    @property
    def attention(self) -> str:
        """The attention implementation in use, as transformers names it."""
        return str(self.module.config.get_text_config()._attn_implementation)

    @property
    def reads_one_line(self) -> bool:
        """Whether packed rows stand in one sequence: flash attention looks for them there alone, and skips what lies
        between two of them."""
        return "flash" in self.attention

    @property
    def mebibytes(self) -> float:
        """What the weights take in this process's memory; shared ones count once."""
        if self.shards is not None:
            return self.shards.bytes / 2**20
        return sum(p.numel() * p.element_size() for p in self.module.parameters()) / 2**20

    @property
    def pad_id(self) -> int:
        """The id that fills padding: the tokenizer's own, else its end of sequence, else 0."""
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
        """What the keys and values of one token take. A layer with a window or a state takes less."""
        config = self.module.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * heads * width * self.module.dtype.itemsize

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a chat that awaits its next answer. Without a chat template, the plain texts."""
        if self.tokenizer.chat_template is None:
            return self.tokenizer.encode("\n".join(m.content for m in messages))
        return self.tokenizer.encode(self.render_text(messages), add_special_tokens=False)

    def render_text(self, messages: Sequence[Message]) -> str:
        """The text that the chat template makes of a chat that awaits its next answer."""
        return chat_text(self.tokenizer, messages, self.name, self.template_kwargs)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without the stop token and the padding behind it."""
        kept = list(ids)
        while kept and (kept[-1] in self.stop_ids or kept[-1] == self.pad_id):
            kept.pop()
        return self.tokenizer.decode(kept, skip_special_tokens=False)

    def body(self) -> nn.Module:
        """The transformer without lm_head."""
        return getattr(self.module, self.module.base_model_prefix)

    def head(self) -> Head:
        """lm_head as it stands now: weights are shared with the module, not copied."""
        return read_head(self.module, self.vocabulary)

    def whole(self) -> AbstractContextManager[None]:
        """All weights in this process, for what each does by itself, as writing. All processes call it."""
        return nullcontext() if self.shards is None else self.shards.whole()

    def own_parameters(self) -> Mapping[str, nn.Parameter]:
        """The parameters by name; where they are divided among the processes, this one's parts of them."""
        return dict(self.module.named_parameters()) if self.shards is None else self.shards.named_parts()

    def copied(self) -> LanguageModel:
        """The same weights once more, without gradients, placed as these are."""
        if self.shards is not None:
            return self.shards.copied(self)
        return replace(self, module=copy.deepcopy(self.module).requires_grad_(False))

    def restricted(self, vocabulary: int) -> LanguageModel:
        """The same model over the first `vocabulary` ids alone."""
        return replace(self, vocabulary=min(vocabulary, self.vocabulary))


def bare_copy(module: Any) -> Any:
    """A module of the same class, config and dtype, in the CPU's memory and with weights of no meaning."""
    made: Any = type(module)(module.config).to(module.dtype)
    made.generation_config = module.generation_config
    return made.eval()


def read_head(module: Any, vocabulary: int) -> Head:
    """lm_head's weights and what the architecture does to its logits, read from module and config.

    Cohere multiplies by logit_scale, Granite divides by logits_scaling, Falcon-H1 has lm_head_multiplier,
    Gemma caps with tanh. `opdkit.models.loading.check_head` proves the reading on real hidden states.
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
