"""Defines the masking protocol and what a rule is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.errors import UserError


class TokenizerLike(Protocol):
    """As much of a tokenizer as a masking rule may use."""

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
    """rollout of [B, T] -> bool[B, T], the tokens that count; False wherever rollout.sampled_mask is."""

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor: ...


@runtime_checkable
class StatesEntropy(Protocol):
    """A masking rule that says whether it reads `rollout.entropy`. One that does not say is given it."""

    needs_entropy: ClassVar[bool]


def needs_entropy(masking: Masking) -> bool:
    """Whether the rollouts of this rule need the entropies of the policy that sampled them."""
    return masking.needs_entropy if isinstance(masking, StatesEntropy) else True


@runtime_checkable
class NamesStrings(Protocol):
    """A masking rule that looks for strings."""

    @property
    def strings(self) -> Sequence[str]: ...


def check_strings(strings: Sequence[str]) -> None:
    """Refuse a bare string (it would be taken letter by letter), an empty list, and what is no text.

    Raises UserError.
    """
    if isinstance(strings, str):
        raise UserError(f"masking.strings={strings!r} is not a list; write masking.strings=['{strings}']")
    if not strings or not all(isinstance(one, str) and one for one in strings):
        raise UserError(f"masking.strings={list(strings)!r} must be a list of strings that are not empty")
