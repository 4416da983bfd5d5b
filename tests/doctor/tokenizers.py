"""Small real tokenizers: the same ids, other merges, so that they split the same text differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from opdkit.doctor.sides import Pair, Side

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>{% endfor %}<|im_start|>"
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

# The paper's case: `<`, `think`, `>` against `<th`, `ink`, `>`.
WHOLE_WORD = [("t", "h"), ("i", "n"), ("th", "in"), ("thin", "k")]
BRACKET_FIRST = [("t", "h"), ("<", "th"), ("i", "n"), ("in", "k")]
PIECES = ("th", "in", "thin", "think", "<th", "ink")


def bpe(
    merges: Sequence[tuple[str, str]], specials: Sequence[str] = SPECIALS, template: str | None = TEMPLATE, **names: Any
) -> Any:
    """Bytes, PIECES, then special tokens. All tokenizers of this kind share the ids that both of them have."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: index for index, text in enumerate([*alphabet, *PIECES])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    core.add_special_tokens(list(specials))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    named = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"} | names
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **named)
    tokenizer.chat_template = template
    return tokenizer


def pair(student: Any, teacher: Any, **changes: Any) -> Pair:
    """changes: rows and stop_ids of the teacher."""
    return Pair(Side("ours", student, len(student)), Side("theirs", teacher, **({"rows": len(teacher)} | changes)))


def told(section: Any) -> list[tuple[str, str]]:
    """(level, text) of a section's notes."""
    return [(note.level, note.text) for note in section.notes]
