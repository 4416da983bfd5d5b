"""Checks whether a response follows verifiable instructions, with `if-verifiable` (Apache-2.0; IFEval, 2023).

Imported by grading workers before they fork, so that answers do not pay for loading, and by tasks to check their rows.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

_PACKAGE = "if_verifiable"
_OF_SENTENCES = ("length_constraints:number_sentences", "change_case:capital_word_frequency")
_SENTENCES = "tokenizers/punkt_tab"


def _load() -> tuple[Mapping[str, Any], Any]:
    """The checkers by instruction, and the function that calls them. Bypasses the package's `__init__`, which loads
    `datasets` and exceeds the memory limit of a grading process."""
    if _PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(_PACKAGE)
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    registry = importlib.import_module(f"{_PACKAGE}.ifeval.instructions_registry").INSTRUCTION_DICT
    return registry, importlib.import_module(f"{_PACKAGE}.common").evaluate_instructions


CHECKERS, _evaluate = _load()
langdetect: Any = importlib.import_module("langdetect")
langdetect.DetectorFactory.seed = 0  # its detection is random
langdetect.detect("It reads what it knows of languages when it is first asked.")


def lacks_sentences(instruction: str) -> bool:
    """Whether a checker needs nltk's sentence tokenizer data and it is not installed."""
    if instruction not in _OF_SENTENCES:
        return False
    try:
        importlib.import_module("nltk").data.find(_SENTENCES)
    except LookupError:
        return True
    return False


def decision(request: Mapping[str, Any]) -> Callable[[], bool]:
    """The decision function of a request: `answer` is the response, `arguments` the instruction's JSON arguments, and
    `loose` also accepts the response without its first or last line, or its asterisks."""
    arguments = json.loads(request["arguments"])

    def follows() -> bool:
        results, _ = _evaluate(request["answer"], [request["instruction"]], [arguments], "", CHECKERS)
        return any(one.loose_pass if request["loose"] else one.strict_pass for one in results)

    return follows
