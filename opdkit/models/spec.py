"""Defines which model is loaded and how it is held in memory. A spec loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from opdkit.errors import UserError

EMBEDDED = (
    "embedded/student", "embedded/teacher", "embedded/agent_student", "embedded/agent_teacher", "embedded/bpe_teacher",
    "embedded/hint_student",
)  # fmt: skip
# What chat_text itself tells a tokenizer's apply_chat_template.
_GIVEN = ("conversation", "chat_template", "add_generation_prompt", "tokenize", "return_dict", "return_tensors")
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "nf4"]


@dataclass(frozen=True)
class ModelSpec:
    """A causal language model in Hugging Face format.

    path: a folder, a hub id, or one of `EMBEDDED`, the pairs in the package: student and teacher of
        sums, agent_student and agent_teacher of text games (the student knows sums, too),
        bpe_teacher of sums with another tokenizer, hint_student of sums that reads a hint in its prompt.
    dtype: what the weights are held in. auto: bfloat16 on an accelerator where they are not trained, else float32.
    attention: transformers' name of the implementation; auto: scaled dot
        products where the architecture has them, else what it has.
    gradient_checkpointing: recompute activations in the backward pass. revision: of a hub id.
    trust_remote_code: run code that comes with the model; off unless asked for.
    template_kwargs: variables of the chat template, as enable_thinking; null ones are not given.
    quantize: nf4 holds the linear layers but lm_head in 4 bits, for a base under adapters (`LoRA.quantize`).
    """

    path: str
    dtype: Precision = "float32"
    attention: str = "auto"
    gradient_checkpointing: bool = False
    revision: str | None = None
    trust_remote_code: bool = False
    template_kwargs: Mapping[str, object] = field(default_factory=dict)
    quantize: Quantization = field(default="none", kw_only=True)

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Precision):
            raise UserError(f"dtype={self.dtype!r} is not one of {', '.join(get_args(Precision))}")
        for name in self.template_kwargs:
            if name in _GIVEN:
                raise UserError(f"template_kwargs.{name}: opdkit gives the template this itself")
        if not self.path:
            raise UserError("path='' names no model: give a folder or a hub id")
        if self.path.startswith("embedded/") and self.path not in EMBEDDED:
            raise UserError(f"path={self.path!r} is not in the package; allowed: {', '.join(EMBEDDED)}")

    def held_in(self, device: str, trains: bool) -> Precision:
        """The dtype on a kind of device ("cpu", "cuda", ...)."""
        if self.dtype != "auto":
            return self.dtype
        return "float32" if trains or device in ("cpu", "meta") else "bfloat16"

    def location(self) -> str:
        """The folder or hub id that transformers is given."""
        if self.path in EMBEDDED:
            return str(Path(__file__).parent / self.path)
        return str(Path(self.path).expanduser()) if Path(self.path).expanduser().exists() else self.path
