"""The client of a vLLM server as a teacher, which scores a rollout's tokens with `prompt_logprobs`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.rows import join_scores
from opdkit.data.scores import Scores
from opdkit.errors import RunError, UserError
from opdkit.functional.supports import join_supports
from opdkit.generation import Engine, EngineSpec
from opdkit.models import LanguageModel, Request
from opdkit.models.scorer import spread
from opdkit.retrying import LastingError, PassingError
from opdkit.servers.contact import Contact
from opdkit.servers.pool import ServerPool
from opdkit.teachers.base import OpenTeacher, TeacherContext

_CHECKED_IDS, _PIECE = 256, 16
_JSON = {"content-type": "application/json"}


def open_prompt_scores(contact: Contact, model: str | None, context: TeacherContext) -> OpenTeacher:
    """Connect to the servers. model: the served model name, None if there is only one. Raises UserError."""
    pool = ServerPool(contact)
    try:
        name = _common_model(pool.greet("/v1/models", _served), model)
    except BaseException:
        pool.close()
        raise
    return OpenPromptScores(pool, name, context, context.student.vocabulary)


def _served(answer: bytes) -> list[str]:
    """The model names of a server."""
    try:
        return [str(entry["id"]) for entry in json.loads(answer)["data"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise LastingError("it is no OpenAI-compatible server") from None


def _common_model(served: Mapping[str, list[str]], model: str | None) -> str:
    server, names = next(iter(served.items()))
    if model is None and len(names) != 1:
        raise UserError(f"teacher.model=null: {server} serves {', '.join(names) or 'nothing'}; name one of them")
    wanted = names[0] if model is None else model
    for server, names in served.items():
        if wanted not in names:
            raise UserError(f"teacher.model={wanted}: {server} serves {', '.join(names)}")
    return wanted


class OpenPromptScores:
    """Requests the log-probs from its servers, one rollout per request."""

    def __init__(self, pool: ServerPool, name: str, context: TeacherContext, vocabulary: int) -> None:
        self._pool = pool
        self._name = name
        self._context = context
        self._vocabulary = vocabulary

    @property
    def name(self) -> str:
        """See `OpenTeacher`."""
        return self._name

    @property
    def tokenizer(self) -> Any:
        """The student's; `check` compares it with the server's."""
        return self._context.student.tokenizer

    @property
    def vocabulary(self) -> int:
        """The student's."""
        return self._vocabulary

    @property
    def stop_ids(self) -> frozenset[int]:
        """The student's; a server does not expose its own."""
        return self._context.student.stop_ids

    def check(self, student: LanguageModel) -> None:
        """See `OpenTeacher`. Compares the texts of 256 ids, evenly spaced over the student's vocabulary."""
        size = min(student.vocabulary, len(student.tokenizer))
        ids = list(range(0, size, max(1, size // _CHECKED_IDS)))
        pieces = [ids[start : start + _PIECE] for start in range(0, len(ids), _PIECE)]
        for piece, text in zip(pieces, self._texts(pieces), strict=True):
            if text != student.tokenizer.decode(piece):
                alone = self._texts([[index] for index in piece])
                for index, theirs in zip(piece, alone, strict=True):
                    ours = student.tokenizer.decode([index])
                    if ours != theirs:
                        raise UserError(
                            f"model={student.name} and teacher={self.name} disagree on their vocabularies, so a token "
                            f"can't be scored: id {index} is {ours!r} there and {theirs!r} here (student, teacher)"
                        )

    def restricted(self, vocabulary: int) -> OpenTeacher:
        """See `OpenTeacher`. Ids from `vocabulary` on are dropped from its top ids."""
        return OpenPromptScores(self._pool, self._name, self._context, min(vocabulary, self._vocabulary))

    @torch.no_grad()
    def score(self, rollout: Rollout, loss_mask: Tensor, request: Request) -> Scores:
        """See `OpenTeacher`."""
        count = max(request.top_k, request.stats_k, 1)
        rows = [_Row.of(rollout, loss_mask, index) for index in range(len(rollout.tokens))]
        bodies = [
            json.dumps({"model": self._name, "prompt": row.ids, "max_tokens": 1, "prompt_logprobs": count}).encode()
            for row in rows
        ]

        def read(number: int, answer: bytes) -> Scores:
            log_probs = _PromptLogProbs.read(answer, rows[number], count)
            return log_probs.scores(rows[number], request, self._context.temperature, self._vocabulary)

        try:
            parts = list(self._pool.map("/v1/completions", bodies, read, _JSON))
        except RunError as error:
            if "logprobs" in str(error):  # by default a server returns at most 20
                raise UserError(f"{error}; start it with --max-logprobs {count}") from None
            raise
        shape = torch.Size((1, rollout.tokens.shape[1]))
        wide = [row.spread(part, shape, rollout.tokens.device) for row, part in zip(rows, parts, strict=True)]
        return join_scores(wide, rollout.tokens.shape[1])

    def writer(self, spec: EngineSpec) -> tuple[Engine, LanguageModel] | None:
        """None: it does not generate."""
        return None

    def bytes(self) -> int:
        """See `OpenTeacher`."""
        return 0

    def after_update(self, step: int) -> None:
        """See `OpenTeacher`."""

    def state(self) -> dict[str, Any]:
        """See `OpenTeacher`."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """See `OpenTeacher`."""

    def metrics(self) -> dict[str, float]:
        """See `OpenTeacher`."""
        return {}

    def close(self) -> None:
        """See `OpenTeacher`."""
        self._pool.close()

    def _texts(self, pieces: list[list[int]]) -> list[str]:
        bodies = [json.dumps({"model": self._name, "tokens": piece}).encode() for piece in pieces]
        return list(self._pool.map("/detokenize", bodies, lambda _, answer: _prompt_of(answer), _JSON))


@dataclass(frozen=True)
class _Row:
    """One rollout as a prompt: its ids, and the positions of the unmasked tokens in it and in the response."""

    ids: list[int]
    places: list[int]
    steps: Tensor

    @classmethod
    def of(cls, rollout: Rollout, loss_mask: Tensor, index: int) -> _Row:
        """Row `index` of a rollout."""
        prompt = rollout.prompts.ids[index][rollout.prompts.attention_mask[index]].tolist()
        response = rollout.tokens[index][rollout.attention_mask[index]].tolist()
        steps = loss_mask[index].nonzero()[:, 0]
        return cls([*prompt, *response], [len(prompt) + step for step in steps.tolist()], steps)

    def spread(self, scores: Scores, shape: torch.Size, device: torch.device) -> Scores:
        """Scatter scores [n, ...] to their positions in [1, T, ...]."""
        place = (torch.zeros_like(self.steps), self.steps)
        fields = {name: getattr(scores, name) for name in Scores.tensors()}
        full: dict[str, Any] = {n: None if v is None else spread(v.to(device), shape, place) for n, v in fields.items()}
        return Scores(**full, temperature=scores.temperature)


@dataclass(frozen=True)
class _PromptLogProbs:
    """A server's log-probs of n tokens, at temperature 1.

    Attributes:
        sampled: f32[n], log-prob of the sampled tokens.
        ids: i64[n, K], the top ids in descending order.
        log_prob: f32[n, K], their log-probs.
    """

    sampled: Tensor
    ids: Tensor
    log_prob: Tensor

    @classmethod
    def read(cls, answer: bytes, row: _Row, count: int) -> _PromptLogProbs:
        """Parse an answer. Raises PassingError if it lacks the log-probs."""
        try:
            places: list[Any] = json.loads(answer)["choices"][0]["prompt_logprobs"]
            if len(places) != len(row.ids):
                raise ValueError
            sampled = [float(places[at][str(row.ids[at])]["logprob"]) for at in row.places]
            best = [_best(places[at], count) for at in row.places]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise PassingError("an answer without the log-probs of its prompt") from None
        ids = torch.tensor([[index for index, _ in one] for one in best], dtype=torch.long).view(-1, count)
        log_prob = torch.tensor([[value for _, value in one] for one in best]).view(-1, count)
        return cls(torch.tensor(sampled), ids, log_prob)

    def scores(self, row: _Row, request: Request, temperature: float, vocabulary: int) -> Scores:
        """Scores [n, ...]. Normalised values are included only at temperature 1."""
        plain = temperature == 1.0
        ids, logits = self.ids[:, : request.top_k], self.log_prob[:, : request.top_k]
        mask = ids < vocabulary
        ids = torch.where(mask, ids, 0)
        if request.top_k and request.include_sampled:
            own = torch.tensor([row.ids[at] for at in row.places], dtype=torch.long)[:, None]
            ids, mask = join_supports([ids, own], [mask, None])
            logits = torch.cat([logits, self.sampled[:, None]], -1)
        looked = plain and (request.normaliser or request.stats_k > 0)
        return Scores(
            sampled_log_prob=self.sampled if plain and (request.sampled or looked) else None,
            support_ids=ids if request.top_k else None,
            support_logits=logits / temperature if request.top_k else None,
            support_mask=mask if request.top_k else None,
            logsumexp=torch.zeros_like(self.sampled) if looked else None,
            top_ids=self.ids[:, : request.stats_k] if request.stats_k else None,
            temperature=temperature,
        )


def _best(entries: Mapping[str, Mapping[str, Any]], count: int) -> list[tuple[int, float]]:
    """The top `count` ids with their log-probs, in descending order."""
    ranked = sorted((int(entry["rank"]), int(index), float(entry["logprob"])) for index, entry in entries.items())
    best = [(index, value) for rank, index, value in ranked if rank <= count][:count]
    if len(best) != count or any(math.isnan(value) for _, value in best):
        raise ValueError
    return best


def _prompt_of(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["prompt"])
    except (ValueError, LookupError, TypeError, RecursionError):
        raise PassingError("an answer without a text") from None
