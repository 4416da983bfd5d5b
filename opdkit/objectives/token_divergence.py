"""The objective algebra: an objective is a combination of independent choices."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from opdkit.data.loss import ModelNeeds, Needs, StepBatch, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.functional.baselines import Baseline
from opdkit.functional.divergences import Divergence, ReverseKL
from opdkit.functional.estimators import importance_ratio, sampled_kl
from opdkit.functional.masked import only
from opdkit.functional.mismatch import Mismatch
from opdkit.functional.surrogates import Ratio, Surrogate
from opdkit.functional.tails import Tail
from opdkit.functional.weighting import Weighting
from opdkit.objectives import refusals
from opdkit.objectives.choices import Estimator, RewardForm, Support
from opdkit.objectives.expectations import SupportSums
from opdkit.objectives.local import detached_head, exact_sum, over_vocabulary
from opdkit.objectives.policy import advantages


@dataclass(frozen=True)
class TokenDivergence:
    """A divergence of the student p from the teacher q at each prefix of a rollout, and how it is estimated.

        loss_t = w_t (local_t + policy_t)
        local_t = D(p, q) at prefix t, inside S_t, by `estimator`; 0 for `score` on the sampled token
        policy_t = surrogate(A_t), with gradient -A_t grad log p(y_t) where p is p_old
        A_t = -cost_t (only for `score` on the sampled token) - sum_{t' > t} discount^(t' - t) h_t' + reward

    Attributes:
        divergence: D, with its cost (`functional.divergences`) and h = terms / p, its value at a sampled token.
        support: S, the sampled token; the top `k` ids of the teacher, of the student that sampled the rollout, their
            union or intersection; or the full vocabulary.
        k: number of ids in a top-k support.
        include_sampled: whether the sampled token is added to S.
        tail: the treatment of probability mass outside S (`functional.tails`), None for sampled and full.
        estimator: exact, the sum over S by autograd; score, the weights p times the detached cost, or on the sampled
            token the policy gradient through cost_t; k1, k2, k3 on the sampled token (`functional.estimators`).
        discount: of the later tokens' h, 0 to 1.
        normalise_returns: whether to divide the sum over later tokens by their number.
        whiten: whether to normalise A to mean 0 and std 1 over the step.
        reward_weight: coefficient of the task reward in A.
        reward_form: whether the reward is raw or relative to its group.
        clip_log_ratio: bound on |cost| and |h| in A.
        floor: bounds -cost from below by log(floor / (1 - floor)).
        baseline: subtracted from cost_t (`functional.baselines`), None for 0.
        surrogate: the policy-gradient loss (`functional.surrogates`).
        weighting: w_t (`functional.weighting`), None for 1.
        mismatch: an extra weight for tokens on whose probability the inference engine and the trainer disagree
            (`functional.mismatch`), None for 1.

    Losses are in nats per token. Supports, prefixes, teacher, costs and weights are constants in the gradient.
    Raises UserError on a value out of range or a meaningless combination (`objectives.refusals`).
    Source: arXiv 2603.25562, Sections 3 and 4, App. D and G.3; the sources of the named members are in PAPERS.md.
    """

    divergence: Divergence = field(default_factory=ReverseKL)
    support: Support = "teacher"
    k: int | None = None
    include_sampled: bool = False
    tail: Tail | None = None
    estimator: Estimator = "exact"
    discount: float = 0.0
    normalise_returns: bool = False
    whiten: bool = False
    reward_weight: float = 0.0
    reward_form: RewardForm = "raw"
    clip_log_ratio: float | None = None
    floor: float | None = None
    baseline: Baseline | None = None
    surrogate: Surrogate = field(default_factory=Ratio)
    weighting: Weighting | None = None
    mismatch: Mismatch | None = None

    def __post_init__(self) -> None:
        refusals.check(self)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about allowed but risky choices, one line each."""
        return refusals.warnings(self)

    @property
    def has_advantage(self) -> bool:
        """Whether the objective has a policy-gradient term."""
        return self.estimates_by_policy or self.discount > 0.0 or self.reward_weight != 0.0

    @property
    def estimates_by_policy(self) -> bool:
        """Whether the policy gradient estimates the token's own divergence."""
        return self.support == "sampled" and self.estimator == "score"

    @property
    def needs(self) -> Needs:
        """What must be computed from the two models, and no more."""
        over_top = self.support not in ("sampled", "full")
        open_tail = self.tail not in (None, "renormalise")
        sampled_tail = self.tail in ("sampled", "sampled_detached")
        weighted_by_ratio = self.mismatch is not None or (self.weighting is not None and self.weighting.needs_log_ratio)
        corrected = (self.has_advantage and not self.surrogate.single_update) or self.estimator in ("k1", "k2", "k3")
        base_k = None if self.baseline is None else self.baseline.k
        model = ModelNeeds(
            sampled=self.support == "sampled" or self.has_advantage or sampled_tail or weighted_by_ratio,
            logsumexp=(over_top and open_tail) or base_k is not None,
            vocabulary=self.support == "full" or (self.baseline is not None and base_k is None),
        )
        support = self.support if over_top else "teacher" if base_k is not None else None
        return Needs(
            student=model,
            teacher=model,
            support=support,  # pyright: ignore[reportArgumentType]
            k=self.k or base_k or 0,
            include_sampled=self.include_sampled,
            old_log_prob=corrected or sampled_tail or weighted_by_ratio,
            reward=self.reward_weight != 0.0,
            advantage=self.whiten or (self.reward_weight != 0.0 and self.reward_form != "raw"),
            entropy=self.weighting is not None,
            single_update=self.has_advantage and self.surrogate.single_update,
        )

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T]; metrics: advantage if there is one, importance_ratio if the surrogate uses it."""
        value, metrics = self._local(student, teacher, batch), dict[str, Tensor]()
        if self.has_advantage:
            policy, metrics = self._policy(student, teacher, batch)
            value = policy if value is None else value + policy
        assert value is not None
        if self.weighting is not None:
            ratio = None if student.sampled_log_prob is None else _log_ratio(student, teacher, batch).detach()
            value = value * self.weighting(ratio, batch.entropy, batch.loss_mask)
        if self.mismatch is not None and batch.behaviour_log_prob is not None:
            value = value * self.mismatch(only(_old(student, batch) - batch.behaviour_log_prob, batch.loss_mask))
        return TokenLoss(only(value, batch.loss_mask), metrics)

    def advantage(self, step: StepBatch) -> Tensor:
        """A_t f32[B, T] of a whole step, zero on masked tokens."""
        return advantages(self, step)

    def _local(self, student: Scores, teacher: Scores, batch: TokenBatch) -> Tensor | None:
        if self.estimates_by_policy:
            return None
        if self.support == "full":
            return over_vocabulary(self.divergence, student, teacher, batch.loss_mask)
        if self.support == "sampled":
            log_p, log_q, old = _sampled(student, teacher, batch)
            assert self.estimator in ("k1", "k2", "k3")
            return sampled_kl(log_p, old, log_q, self.estimator)
        assert self.tail is not None
        form = detached_head if self.estimator == "score" else exact_sum
        return form(self.divergence, self.tail, student, teacher, batch)

    def _policy(self, student: Scores, teacher: Scores, batch: TokenBatch) -> tuple[Tensor, dict[str, Tensor]]:
        log_p, log_q, old = _sampled(student, teacher, batch)
        advantage = batch.advantage
        if advantage is None:
            advantage = advantages(self, StepBatch(batch.loss_mask, old, log_q, batch.reward))
        if self.baseline is not None:
            sums = SupportSums(student, teacher, batch.loss_mask)
            advantage = only(advantage + self.baseline(sums, self.divergence.cost), batch.loss_mask)
        metrics = {"advantage": advantage}
        if not self.surrogate.single_update:
            metrics["importance_ratio"] = only(importance_ratio(log_p, old).detach(), batch.loss_mask)
        return self.surrogate(log_p, old, advantage), metrics


def _sampled(student: Scores, teacher: Scores, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
    """log p, log q and log p before the first update, of the sampled tokens; f32[B, T] each, zeros where masked."""
    assert student.sampled_log_prob is not None
    assert teacher.sampled_log_prob is not None
    log_p = only(student.sampled_log_prob, batch.loss_mask)
    return log_p, only(teacher.sampled_log_prob, batch.loss_mask).detach(), _old(student, batch)


def _old(student: Scores, batch: TokenBatch) -> Tensor:
    """log p before the first update, f32[B, T], zeros where masked."""
    assert student.sampled_log_prob is not None
    own = student.sampled_log_prob.detach() if batch.old_log_prob is None else batch.old_log_prob
    return only(own, batch.loss_mask)


def _log_ratio(student: Scores, teacher: Scores, batch: TokenBatch) -> Tensor:
    _, log_q, old = _sampled(student, teacher, batch)
    return old - log_q
