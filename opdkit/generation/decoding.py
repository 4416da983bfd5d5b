"""The decode loop: from prompts to sampled ids, with the requested log-probs and entropies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from opdkit.generation.base import Ask, Completion, Sampling
from opdkit.generation.pack import pad_prompts
from opdkit.models import Decoder, LanguageModel, Prefix
from opdkit.models.prefix import longest_unread
from opdkit.samplers import Ancestral, draw

# Finished rows are dropped once they are at least this fraction of the batch, since compacting the cache costs about as
# much as a decoding step.
_DROP_SHARE = 0.25


@torch.no_grad()
def decode(model: LanguageModel, asks: Sequence[Ask], sampling: Sampling, remember: bool = True) -> list[Completion]:
    """One completion per request, all in one batch.

    A finished row keeps being decoded, and its tokens are ignored, until enough rows have finished to drop them.
    remember: whether to store the key-value cache of each request in its memory, for the next turn.
    """
    prompts = pad_prompts(model, [ask.prompt_ids for ask in asks])
    longest = max(ask.max_new_tokens for ask in asks)
    noise = _uniform([ask.seed for ask in asks], longest).to(prompts.ids.device)
    written = [_Row(ask.max_new_tokens) for ask in asks]
    stops = model.stop_ids
    statistics = _TokenStatistics(len(asks), longest, sampling)
    alive = list(range(len(asks)))
    decoder = Decoder(model, prompts, longest)
    logits = decoder.start(known_prefixes(model, asks))
    for step in range(longest):
        scaled = logits if sampling.temperature == 1.0 else logits / sampling.temperature
        allowed = None if isinstance(sampling.filter, Ancestral) else sampling.filter(scaled)
        chosen = draw(scaled, allowed, noise[:, step])
        statistics.add(scaled, chosen)
        for row, token in zip(alive, chosen.tolist(), strict=True):
            written[row].add(token, stops)
        if sampling.stop:
            _end_at_strings(model, [written[row] for row in alive], sampling.stop)
        going = [place for place, row in enumerate(alive) if not written[row].ended]
        if not going or len(going) <= (1 - _DROP_SHARE) * len(alive):
            statistics.flush(alive)
            if remember:
                kept = set(going)
                _store_prefixes(decoder, asks, written, {p: row for p, row in enumerate(alive) if p not in kept})
            if not going:
                break
            index = torch.tensor(going, device=noise.device)
            decoder.keep(index)
            alive, chosen, noise = [alive[place] for place in going], chosen[index], noise[index]
        logits = decoder.advance(chosen)
    log_prob, entropy = statistics.rows([len(row.ids) for row in written])
    parts = zip(written, log_prob, entropy, strict=True)
    return [Completion(tuple(row.ids), p, h, "stop" if row.stopped else "length") for row, p, h in parts]


def _end_at_strings(model: LanguageModel, rows: Sequence[_Row], stop: Sequence[str]) -> None:
    """Stop the rows whose last tokens complete one of the stop strings."""
    window = max(len(text.encode()) for text in stop) + 1  # a token has at least one byte, and the first may have more
    for row in rows:
        if not row.ended and any(text in model.decode(row.ids[-window:]) for text in stop):
            row.stopped = row.ended = True


def known_prefixes(model: LanguageModel, asks: Sequence[Ask]) -> list[Prefix | None]:
    """The cached prefix of each prompt that is cached for at least half; empty if there is no such prompt.

    The other prompts are prefilled here, except for as many tokens at the end as the cached ones still need, so
    that the batch prefills only that many tokens together.
    """
    held = [None if ask.memory is None else ask.memory.prefix for ask in asks]
    known = [
        prefix if prefix is not None and 2 * prefix.shared(ask.prompt_ids) >= len(ask.prompt_ids) else None
        for prefix, ask in zip(held, asks, strict=True)
    ]
    old = [(ask.prompt_ids, prefix) for ask, prefix in zip(asks, known, strict=True) if prefix is not None]
    if not old:
        return []
    unread = longest_unread([ids for ids, _ in old], [prefix for _, prefix in old])
    new = [row for row, ask in enumerate(asks) if known[row] is None and len(ask.prompt_ids) > unread]
    if new:
        beginnings = [asks[row].prompt_ids[:-unread] for row in new]
        reader = Decoder(model, pad_prompts(model, beginnings))
        reader.start()
        for place, row in enumerate(new):
            known[row] = reader.prefix(place, beginnings[place])
    return known


def _store_prefixes(decoder: Decoder, asks: Sequence[Ask], written: Sequence[_Row], leaving: Mapping[int, int]) -> None:
    """Store the key-value caches of the rows to be dropped. leaving: index in the batch -> row."""
    for place, row in leaving.items():
        if (memory := asks[row].memory) is not None:
            memory.prefix = decoder.prefix(place, (*asks[row].prompt_ids, *written[row].ids))


class _Row:
    """The response to one request during generation."""

    def __init__(self, limit: int) -> None:
        self.ids: list[int] = []
        self.stopped = False
        self.ended = False
        self._limit = limit

    def add(self, token: int, stops: frozenset[int]) -> None:
        """Append the next token, unless the response has ended."""
        if not self.ended:
            self.ids.append(token)
            self.stopped = token in stops
            self.ended = self.stopped or len(self.ids) >= self._limit


class _TokenStatistics:
    """The requested log-probs and entropies of a batch.

    Steps are buffered on the device, and copied to the CPU when rows are dropped.
    """

    def __init__(self, rows: int, longest: int, sampling: Sampling) -> None:
        shape = (rows, longest)
        self._tables = (
            torch.zeros(shape) if sampling.log_prob else None,
            torch.zeros(shape) if sampling.entropy else None,
        )
        self._steps: tuple[list[Tensor], list[Tensor]] = ([], [])
        self._start = 0

    def add(self, scaled: Tensor, chosen: Tensor) -> None:
        """Add a step: logits f32[n, V] divided by the temperature, and the sampled ids i64[n]."""
        wants_log_prob, wants_entropy = (table is not None for table in self._tables)
        if not wants_log_prob and not wants_entropy:
            return
        normalised = scaled.log_softmax(dim=-1)
        if wants_log_prob:
            self._steps[0].append(normalised.gather(1, chosen[:, None])[:, 0])
        if wants_entropy:
            self._steps[1].append(torch.special.entr(normalised.exp()).sum(dim=-1))

    def flush(self, alive: Sequence[int]) -> None:
        """Copy the steps since the last flush to the rows `alive` of the tables."""
        count = 0
        for table, steps in zip(self._tables, self._steps, strict=True):
            if table is not None and steps:
                count = len(steps)
                table[list(alive), self._start : self._start + count] = torch.stack(steps, dim=1).cpu()
                steps.clear()
        self._start += count

    def rows(self, lengths: Sequence[int]) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Log-probs and entropies of each row, f32[length], None if not requested."""
        log_prob, entropy = self._tables
        return _cut(log_prob, lengths), _cut(entropy, lengths)


def _cut(table: Tensor | None, lengths: Sequence[int]) -> list[Tensor | None]:
    return [None if table is None else table[row, :length].clone() for row, length in enumerate(lengths)]


def _uniform(seeds: Sequence[int], length: int) -> Tensor:
    """Uniform random numbers f32[B, T] in [0, 1), each row from its own seed."""
    rows = [torch.rand(length, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)
