"""The specification of a model and how to load it. A spec loads nothing itself."""

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
# The arguments of apply_chat_template that chat_text sets itself.
_GIVEN = ("conversation", "chat_template", "add_generation_prompt", "tokenize", "return_dict", "return_tensors")
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "nf4"]


@dataclass(frozen=True)
class ModelSpec:
    """A causal language model in Hugging Face format.

    Attributes:
        path: a folder, a hub id, or one of `EMBEDDED`, the models in the package: student and teacher for sums,
            agent_student and agent_teacher for text games (the student also knows sums), bpe_teacher for sums with
            another tokenizer, hint_student for sums with a hint in the prompt.
        dtype: dtype of the weights. auto: bfloat16 on an accelerator if they are not trained, else float32.
        attention: transformers' name of the implementation. auto: scaled dot-product attention if supported, else
            the architecture's default.
        gradient_checkpointing: whether to recompute activations in the backward pass.
        revision: the revision of a hub id.
        trust_remote_code: whether to run code that comes with the model.
        template_kwargs: variables of the chat template, such as enable_thinking; null ones are not passed.
        quantize: nf4 holds the linear layers except lm_head in 4 bits, for a base under adapters (`LoRA.quantize`).
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
        """The dtype on a device type ("cpu", "cuda", ...)."""
        if self.dtype != "auto":
            return self.dtype
        return "float32" if trains or device in ("cpu", "meta") else "bfloat16"

    def location(self) -> str:
        """The folder or hub id to pass to transformers."""
        if self.path in EMBEDDED:
            return str(Path(__file__).parent / self.path)
        return str(Path(self.path).expanduser()) if Path(self.path).expanduser().exists() else self.path
