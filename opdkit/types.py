"""What passes between the stages, as frozen dataclasses with their shapes.

Axes: B sequences, P prompt tokens, T response tokens, K support ids, V vocabulary ids.
The way is one-directional: Prompts -> Rollout -> Scores (teacher, student) -> mask -> TokenLoss.
Log-probs and losses are in nats; every log-prob and logit is divided by the run's temperature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from opdkit.heads import Head

StopReason = Literal["stop", "length"]
EpisodeEnd = Literal["done", "turns", "context", "crashed"]
SupportSource = Literal["teacher", "student", "union", "intersection"]


@dataclass(frozen=True)
class Message:
    """One turn of a chat. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Problem:
    """One problem of a task, before any tokenizer has seen it.

    `identifier` is unique and stable within its task; `reference` is the gold answer as text.
    """

    identifier: str
    messages: tuple[Message, ...]
    reference: str


@dataclass(frozen=True)
class Prompts:
    """A batch of rendered prompts, padded on the left.

    ids i64[B, P]; mask bool[B, P], True on real tokens; problems, B of them.
    """

    ids: Tensor
    mask: Tensor
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Rollout:
    """What the student wrote, padded on the right.

    tokens i64[B, T]; mask bool[B, T], True on sampled tokens (the stop token included);
    given bool[B, T], True on tokens between them that an environment wrote: the models read them and nothing
    counts them; None where there are none. The tokens of a row stand without a gap: mask | given, then padding.
    behaviour_log_prob f32[B, T], log-prob of each sampled token under the student that wrote it, at
    the run's temperature and before the sampler's filter; entropy f32[B, T], that student's entropy
    in nats; stop_reason, B of them: "stop" where a stop token was sampled, "length" where the limit cut.
    Positions outside the mask hold zeros, and outside mask | given the padding id.
    """

    prompts: Prompts
    tokens: Tensor
    mask: Tensor
    behaviour_log_prob: Tensor
    entropy: Tensor
    stop_reason: tuple[StopReason, ...]
    given: Tensor | None = None

    @property
    def real(self) -> Tensor:
        """bool[B, T], the tokens that the models read."""
        return self.mask if self.given is None else self.mask | self.given


@dataclass(frozen=True)
class Scores:
    """What a model says of a rollout: one type for student and teacher.

    sampled_log_prob f32[B, T], log-prob of the sampled token over the whole vocabulary;
    support_ids i64[B, T, K] and support_logits f32[B, T, K], logits (not normalised) of those ids;
    support_mask bool[B, T, K], False on filler ids (a joined support is ragged), None where all count;
    logsumexp f32[B, T], of all logits; entropy f32[B, T], in nats;
    top_ids i64[B, T, k], the model's own best ids, best first, for diagnostics;
    hidden f[B, T, D], the state before lm_head, and head, that lm_head: the whole vocabulary, for whoever streams it;
    temperature: what every logit was divided by, and what the logits of hidden and head are yet to be divided by.
    A field that was not asked for is None. Positions that do not count hold zeros.
    """

    sampled_log_prob: Tensor | None = None
    support_ids: Tensor | None = None
    support_logits: Tensor | None = None
    support_mask: Tensor | None = None
    logsumexp: Tensor | None = None
    entropy: Tensor | None = None
    top_ids: Tensor | None = None
    hidden: Tensor | None = None
    head: Head | None = None
    temperature: float = 1.0

    @classmethod
    def tensors(cls) -> tuple[str, ...]:
        """Names of the fields that are tensors of [B, T, ...]."""
        return tuple(name for name in cls.__dataclass_fields__ if name not in ("head", "temperature"))


@dataclass(frozen=True)
class StepBatch:
    """What the advantage of a whole step may be made of, before its first update.

    mask bool[B, T], the tokens that count; old_log_prob and teacher_log_prob f32[B, T] of the sampled tokens, or None
    where they were not needed; reward f32[B]; group i64[B], equal for rollouts of one prompt.
    """

    mask: Tensor
    old_log_prob: Tensor | None = None
    teacher_log_prob: Tensor | None = None
    reward: Tensor | None = None
    group: Tensor | None = None


@dataclass(frozen=True)
class TokenBatch:
    """What an objective may use beside the two models' scores.

    mask bool[B, T], the tokens that count; old_log_prob f32[B, T] or None, the student's log-prob of
    each sampled token before the first update on this rollout batch, None in that first update, where
    the student's own detached log-probs are the old ones; reward f32[B] or None; tokens i64[B, T], the sampled ids;
    entropy f32[B, T], of the student that wrote them, nats; advantage f32[B, T], the step's, where the objective
    needs one.
    """

    mask: Tensor
    old_log_prob: Tensor | None = None
    reward: Tensor | None = None
    tokens: Tensor | None = None
    entropy: Tensor | None = None
    advantage: Tensor | None = None


@dataclass(frozen=True)
class Needs:
    """What an objective asks of the two models. Nothing that is not asked for is computed.

    sampled: log-prob of the sampled token (streams the vocabulary of both models).
    support: where the K ids come from, or None; `k` how many each source gives;
    include_sampled: the sampled token joins the support.
    logsumexp: the full-vocabulary normaliser of both models, the student's with its gradient.
    vocabulary: every id of both models, as hidden states and heads to be streamed.
    old_log_prob: the student's log-probs before the first update; reward: the task's verdict.
    advantage: the objective has an `advantage(StepBatch)` to be asked once, on the whole step.
    single_update: its gradient is right only where a rollout batch is used for one update.
    """

    sampled: bool = False
    support: SupportSource | None = None
    k: int = 0
    include_sampled: bool = False
    logsumexp: bool = False
    vocabulary: bool = False
    old_log_prob: bool = False
    reward: bool = False
    advantage: bool = False
    single_update: bool = False


@dataclass(frozen=True)
class TokenLoss:
    """An objective's answer, not reduced.

    value f32[B, T], nats a token, finite everywhere and zero outside the mask;
    metrics, name -> f32[B, T] values without gradient, averaged over counted tokens by the loop.
    """

    value: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True)
class Verdict:
    """A grader's word on one response. `extracted` is the answer it read, None where there was none;
    `status` is "ok", or why no grade was possible ("no_answer", "too_long", "too_complex", "not_text", "other_turn",
    "timeout", "crashed")."""

    correct: bool
    extracted: str | None = None
    status: str = "ok"


@dataclass(frozen=True)
class Table:
    """A small table of one step, for the loggers. Cells are plain values; a cell that can't be had is None.

    histogram: the first three columns are low and high, the limits of a bin, and what it counts.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    histogram: bool = False


@dataclass(frozen=True)
class Exchange:
    """One turn of an episode: what was seen, what was said, and what came of it.

    observation: the user's turn as the player read it; response: all that it wrote, `tokens` of them, `truncated`
    where the limit cut it; action: what was read from it; valid: whether the game understood it; reward: the change
    of the game's score.
    """

    observation: str
    response: str
    action: str
    valid: bool
    reward: float
    tokens: int
    truncated: bool


@dataclass(frozen=True)
class Transcript:
    """An episode that was played.

    identifier and game: those of the episode; ending: how it came to its end: the game was over, the limit of turns,
    a chat that outgrew the limit of the context, or the game's process (then score and success say nothing, and
    `detail` says why); score in [0, 1] and success: where the game stood then; left_out: turns that the player could
    no longer read at the end, since the chat was too long; last_observation: what the last action led to.
    """

    identifier: str
    game: str
    exchanges: tuple[Exchange, ...]
    ending: EpisodeEnd
    score: float
    success: bool
    left_out: int
    last_observation: str
    detail: str = ""


class Objective(Protocol):
    """What the loop asks of an objective."""

    @property
    def needs(self) -> Needs:
        """What must be computed for it."""
        ...

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """The loss of every token, with gradient through the student's scores alone."""
        ...


class Aggregation(Protocol):
    """How token losses become one number: loss = sum(value * weights)."""

    def denominator(self, mask: Tensor) -> Tensor:
        """f32[], additive over disjoint sets of rows. mask bool[B, T]."""
        ...

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """f32[B, T], zero outside the mask, for a denominator of the whole batch."""
        ...
