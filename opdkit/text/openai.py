"""A text model behind an OpenAI-compatible endpoint: a provider, vLLM, SGLang, llama.cpp."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from opdkit.errors import UserError
from opdkit.text.base import TextModel
from opdkit.text.budget import Budget
from opdkit.text.endpoint import Endpoint
from opdkit.text.exchanges import ExchangeLog
from opdkit.text.recorded import RecordedModel


@dataclass(frozen=True, kw_only=True)
class OpenAIModel(Endpoint):
    """An `Endpoint` as a text model, with its exchanges on disk."""

    def open(self, record: Path | None) -> TextModel:
        """See `TextSpec`. Nothing is sent yet. Raises UserError without the client or the key."""
        try:
            from opdkit.text.completions import Completions
        except ImportError as error:
            raise UserError(f"text=openai needs {error.name}: pip install 'opdkit[openai]'") from None
        key = self._key()
        log = ExchangeLog(record)
        budget = Budget(self.budget_calls, self.budget_tokens, (log.requests, log.tokens))
        return RecordedModel(Completions(self, key, budget), log)

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise UserError(
                f"text.key_variable={self.key_variable}: the environment has no key of that name; export it, or "
                "key_variable=null for a server that asks for none"
            )
        if not (key.isascii() and key.isprintable()):
            raise UserError(
                f"text.key_variable={self.key_variable}: its value is no key: it has characters no header takes"
            )
        return key
