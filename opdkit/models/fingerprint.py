"""A fingerprint of a model's weights, vocabulary and logit scaling."""

from __future__ import annotations

import hashlib

import torch

from opdkit.models.language_model import LanguageModel

_SAMPLED = 4096


@torch.no_grad()
def fingerprint(model: LanguageModel) -> str:
    """Sixteen hexadecimal digits. Hashes each weight's name, shape, dtype and up to 4096 evenly spaced values, which
    takes a second where hashing all values would take minutes."""
    digest = hashlib.blake2b(digest_size=8)
    head = model.head()
    digest.update(repr((model.vocabulary, head.scale, head.softcap, sorted(model.stop_ids))).encode())
    digest.update(repr(sorted(model.tokenizer.get_vocab().items(), key=lambda pair: pair[1])).encode())
    for name, weight in sorted(model.module.state_dict().items()):
        values = weight.detach().flatten()
        values = values[:: max(1, values.numel() // _SAMPLED)].cpu().contiguous()
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
