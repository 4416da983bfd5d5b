"""Whether a response follows verifiable instructions, by the checkers of `if-verifiable` (Apache-2.0; IFEval, 2023).

Imported by a grading worker before it forks, so that no answer pays for the loading, and by tasks to check their rows.
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
    """The checkers by instruction, and what asks them. The package's own face is passed over: it loads `datasets`,
    which takes more memory than a grading process may have."""
    if _PACKAGE not in sys.modules:
        spec = importlib.util.find_spec(_PACKAGE)
        assert spec is not None
        sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    registry = importlib.import_module(f"{_PACKAGE}.ifeval.instructions_registry").INSTRUCTION_DICT
    return registry, importlib.import_module(f"{_PACKAGE}.common").evaluate_instructions


CHECKERS, _evaluate = _load()
langdetect: Any = importlib.import_module("langdetect")
langdetect.DetectorFactory.seed = 0  # it draws while it detects
langdetect.detect("It reads what it knows of languages when it is first asked.")


def lacks_sentences(instruction: str) -> bool:
    """Whether a checker needs nltk's data on where sentences end, and that is not on this machine."""
    if instruction not in _OF_SENTENCES:
        return False
    try:
        importlib.import_module("nltk").data.find(_SENTENCES)
    except LookupError:
        return True
    return False


def decision(request: Mapping[str, Any]) -> Callable[[], bool]:
    """What decides a request: `answer` is the response, `arguments` are the instruction's as JSON, and `loose` counts
    one that is followed without the response's first or last line, or its asterisks."""
    arguments = json.loads(request["arguments"])

    def follows() -> bool:
        results, _ = _evaluate(request["answer"], [request["instruction"]], [arguments], "", CHECKERS)
        return any(one.loose_pass if request["loose"] else one.strict_pass for one in results)

    return follows
