"""Defines what an objective needs, receives and returns, and how token losses are aggregated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from opdkit.data.scores import Scores

SupportSource = Literal["teacher", "student", "union", "intersection"]


@dataclass(frozen=True)
class StepBatch:
    """What the advantage of a whole step may be made of, before its first update.

    Attributes:
        loss_mask: bool[B, T], the tokens that count.
        old_log_prob: f32[B, T], the student's log-prob of the sampled tokens, None where it is not needed.
        teacher_log_prob: f32[B, T], the teacher's, None where it is not needed.
        reward: f32[B], 0 where it is not known.
        group: i64[B], equal for rollouts of one prompt.
        reward_known: bool[B], False where the reward failed, so that nothing is learnt from it. None: all are known.
        step: the number of the step, from 0.
    """

    loss_mask: Tensor
    old_log_prob: Tensor | None = None
    teacher_log_prob: Tensor | None = None
    reward: Tensor | None = None
    group: Tensor | None = None
    reward_known: Tensor | None = None
    step: int = 0


@dataclass(frozen=True)
class TokenBatch:
    """What an objective may use beside the two models' scores.

    Attributes:
        loss_mask: bool[B, T], the tokens that count.
        old_log_prob: f32[B, T], the student's log-prob of each sampled token before the first update on this rollout
            batch, under the weights that wrote it. None where those are the weights of this update: then the student's
            own detached log-probs are the old ones.
        reward: f32[B], None where the objective does not need it.
        tokens: i64[B, T], the sampled ids.
        entropy: f32[B, T], the entropy of the policy that sampled them, nats. None where nothing needs it.
        advantage: f32[B, T], the step's, where the objective needs one.
        behaviour_log_prob: f32[B, T], what the engine that wrote the tokens said of them. None where it said nothing.
    """

    loss_mask: Tensor
    old_log_prob: Tensor | None = None
    reward: Tensor | None = None
    tokens: Tensor | None = None
    entropy: Tensor | None = None
    advantage: Tensor | None = None
    behaviour_log_prob: Tensor | None = None


@dataclass(frozen=True)
class ModelNeeds:
    """What an objective asks of one model. Nothing that is not asked for is computed.

    Attributes:
        sampled: the log-prob of the sampled token over the whole vocabulary.
        logsumexp: the normaliser of all logits. The student's has a gradient.
        vocabulary: every id, as hidden states and a head to be streamed.
        own_vocabulary: the same of the teacher's own vocabulary, be it another one than the student's.
    """

    sampled: bool = False
    logsumexp: bool = False
    vocabulary: bool = False
    own_vocabulary: bool = False


@dataclass(frozen=True)
class Needs:
    """What an objective asks for. Nothing that is not asked for is computed.

    Attributes:
        student: what is asked of the student.
        teacher: what is asked of the teacher. None: the objective has no teacher, and none is loaded for it.
        support: where the K ids that both models score come from, None for no support.
        k: how many ids each source of the support gives.
        include_sampled: the sampled token joins the support.
        old_log_prob: the student's log-probs before the first update.
        reward: the reward of each response.
        advantage: the objective has an `advantage(StepBatch)`, called once on the whole step.
        siblings: the reward is compared within its group, which needs two rollouts of a prompt at least.
        entropy: the entropy of the policy that sampled each token.
        single_update: its gradient is right only where a rollout batch is used for one update.
    """

    student: ModelNeeds = ModelNeeds()
    teacher: ModelNeeds | None = ModelNeeds()
    support: SupportSource | None = None
    k: int = 0
    include_sampled: bool = False
    old_log_prob: bool = False
    reward: bool = False
    advantage: bool = False
    siblings: bool = False
    entropy: bool = False
    single_update: bool = False


@dataclass(frozen=True)
class TokenLoss:
    """An objective's answer, not reduced.

    value f32[B, T], nats a token, finite everywhere and zero outside the mask;
    metrics, name -> f32[B, T] values without gradient, averaged over counted tokens by the loop.
    """

    value: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class Objective(Protocol):
    """What the loop asks of an objective."""

    @property
    def needs(self) -> Needs:
        """What must be computed for it."""
        ...

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """The loss of every token, with gradient through the student's scores alone."""
        ...


@runtime_checkable
class Warns(Protocol):
    """An objective that says something before a run."""

    @property
    def warnings(self) -> Sequence[str]:
        """What is allowed and should be known, a line each."""
        ...


class Aggregation(Protocol):
    """How token losses become one number: loss = sum(value * weights)."""

    def denominator(self, mask: Tensor) -> Tensor:
        """f32[], additive over disjoint sets of rows. mask bool[B, T]."""
        ...

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """f32[B, T], zero outside the mask, for a denominator of the whole batch."""
        ...
