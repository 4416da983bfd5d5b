"""The base class of teachers around another teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opdkit.generation import Engine, EngineSpec
from opdkit.models import LanguageModel
from opdkit.teachers.base import OpenTeacher


class WrappedTeacher:
    """An open teacher around another one, to which it delegates by default.

    A subclass defines `restricted` and `score`. It does not generate: the inner teacher would be given the student's
    prompt, or would answer in its own tokens.
    """

    def __init__(self, inner: OpenTeacher) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self._inner.name

    @property
    def tokenizer(self) -> Any:
        """See `OpenTeacher`."""
        return self._inner.tokenizer

    @property
    def vocabulary(self) -> int:
        """See `OpenTeacher`."""
        return self._inner.vocabulary

    @property
    def stop_ids(self) -> frozenset[int]:
        """See `OpenTeacher`."""
        return self._inner.stop_ids

    def check(self, student: LanguageModel) -> None:
        """See `OpenTeacher`."""
        self._inner.check(student)

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """None: it does not generate."""
        return None

    def metrics(self) -> Mapping[str, float]:
        """See `OpenTeacher`."""
        return self._inner.metrics()

    def bytes(self) -> int:
        """See `OpenTeacher`."""
        return self._inner.bytes()

    def after_update(self, step: int) -> None:
        """See `OpenTeacher`."""
        self._inner.after_update(step)

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`."""
        return self._inner.state()

    def restore(self, state: dict[str, Any]) -> None:
        """See `OpenTeacher`."""
        self._inner.restore(state)

    def close(self) -> None:
        """See `OpenTeacher`."""
        self._inner.close()
