"""A tokenizer for models with random weights: the words are the ids, written as numbers."""

from __future__ import annotations

from typing import Any

from benchmarks.models import END, PAD


def word_tokenizer(vocabulary: int) -> Any:
    """`vocabulary` words, "0" to the last; padded on the left with "0", ended by "1"."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = {str(index): index for index in range(vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=str(PAD)))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=str(PAD), eos_token=str(END), padding_side="left"
    )
