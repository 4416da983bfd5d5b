"""Two tokenizers on one text: the bytes of tokens, and distributions mapped from one vocabulary to the other."""

from opdkit.tokenization.alignment import Alignment, Group, Symbols, align
from opdkit.tokenization.byte_filter import Branch, ByteFilter, Filtered, Spelled
from opdkit.tokenization.byte_prefix import Begun, BytePrefixMap
from opdkit.tokenization.bytes import STOP, Encoder, TokenBytes, VocabularyLike, token_bytes
from opdkit.tokenization.losses import gold, merge_spans, share_span_log_ratio, span_log_ratio, span_sums, uld
from opdkit.tokenization.marginal import path_log_prob, student_log_mass
from opdkit.tokenization.placement import Crossing, Placement, place
from opdkit.tokenization.respell import encode_bytes, respell
from opdkit.tokenization.shared import SharedVocabulary, shared_vocabulary

__all__ = [
    "STOP",
    "Alignment",
    "Begun",
    "Branch",
    "ByteFilter",
    "BytePrefixMap",
    "Crossing",
    "Encoder",
    "Filtered",
    "Group",
    "Placement",
    "SharedVocabulary",
    "Spelled",
    "Symbols",
    "TokenBytes",
    "VocabularyLike",
    "align",
    "encode_bytes",
    "gold",
    "merge_spans",
    "path_log_prob",
    "place",
    "respell",
    "share_span_log_ratio",
    "shared_vocabulary",
    "span_log_ratio",
    "span_sums",
    "student_log_mass",
    "token_bytes",
    "uld",
]
