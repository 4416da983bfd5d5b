"""Describes student and teacher by their tokenizers and configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opdkit.models import LanguageModel


@dataclass(frozen=True)
class Side:
    """One model: name as typed; tokenizer; rows of lm_head, padding included; stop_ids that end a response;
    template_kwargs, extra arguments of the chat template.

    rows and stop_ids are None if only the tokenizer is known.
    """

    name: str
    tokenizer: Any
    rows: int | None = None
    stop_ids: frozenset[int] | None = None
    template_kwargs: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, model: LanguageModel) -> Side:
        """A model, with its weights or on the meta device."""
        rows = int(model.module.get_output_embeddings().weight.shape[0])
        return cls(model.name, model.tokenizer, rows, model.stop_ids, model.template_kwargs)

    def token(self, index: int) -> str:
        """The token of an id."""
        found = self.tokenizer.convert_ids_to_tokens(index)
        return f"id {index}" if found is None else str(found)


@dataclass(frozen=True)
class Pair:
    """Student and teacher."""

    student: Side
    teacher: Side
