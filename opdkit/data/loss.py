"""The objective and aggregation protocols, with their inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

from opdkit.data.scores import Scores

SupportSource = Literal["teacher", "student", "union", "intersection"]


@dataclass(frozen=True)
class StepBatch:
    """The inputs to the advantage of a whole step, before its first update.

    Attributes:
        loss_mask: bool[B, T], the tokens in the loss.
        old_log_prob: f32[B, T], the student's log-prob of the sampled tokens, None if not needed.
        teacher_log_prob: f32[B, T], the teacher's, None if not needed.
        reward: f32[B], 0 where unknown.
        group: i64[B], equal for rollouts of one prompt.
        reward_known: bool[B], False where the reward failed and must not be trained on. None: all are known.
        step: the index of the step, from 0.
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
    """The inputs of an objective besides the two models' scores.

    Attributes:
        loss_mask: bool[B, T], the tokens in the loss.
        old_log_prob: f32[B, T], the student's log-prob of each sampled token before the first update on this rollout
            batch, under the weights that sampled it. None if those are also the weights of this update, in which case
            the student's own detached log-probs are used.
        reward: f32[B], None if not needed.
        tokens: i64[B, T], the sampled ids.
        entropy: f32[B, T], the entropy of the policy that sampled them, in nats. None if not needed.
        advantage: f32[B, T], from the whole step, None if not needed.
        behaviour_log_prob: f32[B, T], the log-probs reported by the inference engine. None if it reports none.
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
    """What an objective requires from one model. Nothing else is computed.

    Attributes:
        sampled: the log-prob of the sampled token over the whole vocabulary.
        logsumexp: the normaliser of all logits. The student's has a gradient.
        vocabulary: the full vocabulary, as hidden states and a head to be streamed.
        own_vocabulary: the same over the teacher's own vocabulary, even if it differs from the student's.
    """

    sampled: bool = False
    logsumexp: bool = False
    vocabulary: bool = False
    own_vocabulary: bool = False


@dataclass(frozen=True)
class Needs:
    """What an objective requires. Nothing else is computed.

    Attributes:
        student: what is required from the student.
        teacher: what is required from the teacher. None: the objective has no teacher, and none is loaded for it.
        support: the source of the K ids that both models score, None for no support.
        k: the number of ids from each source of the support.
        include_sampled: whether the sampled token is added to the support.
        old_log_prob: the student's log-probs before the first update.
        reward: the reward of each response.
        advantage: whether the objective has an `advantage(StepBatch)`, called once on the whole step.
        siblings: whether rewards are compared within their group, which needs at least two rollouts per prompt.
        entropy: the entropy of the policy that sampled each token.
        single_update: whether the gradient is correct only if a rollout batch is used for a single update.
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
    """An objective's loss per token, not reduced.

    Attributes:
        value: f32[B, T], nats per token, finite everywhere and zero outside the mask.
        metrics: name -> f32[B, T] values without gradient, averaged over the tokens in the loss by the loop.
    """

    value: Tensor
    metrics: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class Objective(Protocol):
    """The objective interface used by the training loop."""

    @property
    def needs(self) -> Needs:
        """What must be computed for this objective."""
        ...

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """The loss of every token, with gradient only through the student's scores."""
        ...


@runtime_checkable
class Warns(Protocol):
    """An objective with warnings to show before a run."""

    @property
    def warnings(self) -> Sequence[str]:
        """Warnings about allowed but risky choices, one line each."""
        ...


class Aggregation(Protocol):
    """The reduction of token losses to a scalar: loss = sum(value * weights)."""

    def denominator(self, mask: Tensor) -> Tensor:
        """f32[], additive over disjoint sets of rows. mask bool[B, T]."""
        ...

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """f32[B, T], zero outside the mask, given the denominator of the whole batch."""
        ...
