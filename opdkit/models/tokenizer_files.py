"""Serialises a tokenizer as the contents of its files, to be sent to another process, and back."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from opdkit.errors import RunError
from opdkit.models.template import first_line

_NAMES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip


def tokenizer_files(tokenizer: Any) -> dict[str, str]:
    """File name -> content, as taken by `tokenizer_of`."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return {
            name: (Path(folder) / name).read_text(encoding="utf-8")
            for name in _NAMES
            if (Path(folder) / name).is_file()
        }


def tokenizer_of(files: Mapping[str, str], name: str) -> Any:
    """The tokenizer in untrusted files, without running any code. Raises RunError if they can't be read."""
    with tempfile.TemporaryDirectory() as folder:
        for file, text in files.items():
            if file in _NAMES and isinstance(text, str):
                (Path(folder) / file).write_text(text, encoding="utf-8")
        try:
            return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # transformers raises many types for unreadable files
            raise RunError(f"{name} sent a tokenizer that can't be read: {first_line(error)}") from error
