"""Loads a PEFT adapter folder by merging it into its base model."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.utils.peft_utils import find_adapter_config_file

from opdkit.errors import UserError
from opdkit.models.spec import ModelSpec
from opdkit.models.template import first_line


@dataclass(frozen=True)
class Adapter:
    """The metadata of an adapter folder.

    Attributes:
        base: spec of the base model, with the other settings of the adapter's spec.
        method: the PEFT type.
        has_tokenizer: whether the folder also contains a tokenizer.
    """

    base: ModelSpec
    method: str
    has_tokenizer: bool


def find_adapter(spec: ModelSpec, key: str) -> Adapter | None:
    """The adapter in a folder or repository, None if there is none. Raises UserError if it names no base model."""
    file = find_adapter_config_file(spec.location(), revision=spec.revision or "main")
    if file is None:
        return None
    found = json.loads(Path(file).read_text(encoding="utf-8"))
    base = found.get("base_model_name_or_path")
    if not isinstance(base, str) or base in ("", spec.path):
        raise UserError(f"{key}.path={spec.path!r} is an adapter, and adapter_config.json names no model that it is of")
    held = replace(spec, path=base, revision=found.get("revision"))
    folder = Path(file).parent
    return Adapter(held, str(found.get("peft_type")), (folder / "tokenizer_config.json").exists())


def merge_adapter(module: Any, adapter: Adapter, spec: ModelSpec, key: str) -> Any:
    """The base `module` with the adapter merged into its weights."""
    if find_spec("peft") is None:
        raise UserError(
            f"{key}.path={spec.path!r} is an adapter of {adapter.base.path!r}: pip install 'opdkit[lora]' to merge it"
        )
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTuner

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses a deprecated transformers name
            warnings.simplefilter("error", UserWarning)  # peft only warns about tensors that the adapter lacks
            adapted = PeftModel.from_pretrained(module, spec.location(), revision=spec.revision or "main")
            if not isinstance(adapted.base_model, BaseTuner):
                raise UserError(f"{key}.path={spec.path!r}: a {adapter.method} adapter can't be merged into its model")
            merged = adapted.base_model.merge_and_unload(safe_merge=True)
    except UserError:
        raise
    except Exception as error:  # peft, safetensors and torch raise many types for the same mistake
        raise UserError(
            f"{key}.path={spec.path!r}: the adapter does not fit {adapter.base.path!r}: {first_line(error)}"
        ) from error
    return merged.requires_grad_(True)
