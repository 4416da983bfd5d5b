"""The masking protocol and the inputs of a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.errors import UserError


class TokenizerLike(Protocol):
    """The part of a tokenizer's interface that masking rules use."""

    @property
    def all_special_ids(self) -> Sequence[int]: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Any) -> Any: ...


@dataclass(frozen=True)
class Vocabularies:
    """The two models' tokenizers."""

    student: TokenizerLike
    teacher: TokenizerLike


class Masking(Protocol):
    """rollout of [B, T] -> loss mask bool[B, T], False wherever rollout.sampled_mask is False."""

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor: ...


@runtime_checkable
class StatesEntropy(Protocol):
    """A masking rule that declares whether it reads `rollout.entropy`; without a declaration it is assumed to."""

    needs_entropy: ClassVar[bool]


def needs_entropy(masking: Masking) -> bool:
    """Whether this rule needs rollouts with the entropy of the policy that sampled them."""
    return masking.needs_entropy if isinstance(masking, StatesEntropy) else True


@runtime_checkable
class NamesStrings(Protocol):
    """A masking rule with a list of strings."""

    @property
    def strings(self) -> Sequence[str]: ...


def check_strings(strings: Sequence[str]) -> None:
    """Raises UserError for a bare string (it would be iterated by character), an empty list, and non-strings."""
    if isinstance(strings, str):
        raise UserError(f"masking.strings={strings!r} is not a list; write masking.strings=['{strings}']")
    if not strings or not all(isinstance(one, str) and one for one in strings):
        raise UserError(f"masking.strings={list(strings)!r} must be a list of strings that are not empty")
