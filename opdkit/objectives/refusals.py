"""Validation of `TokenDivergence`: rejects meaningless combinations of options and warns about risky ones."""

from __future__ import annotations

import math
from typing import Protocol, get_args

from opdkit.errors import UserError
from opdkit.functional.baselines import Baseline
from opdkit.functional.divergences import DensityPower, ReverseKL
from opdkit.functional.surrogates import Ratio, Surrogate
from opdkit.functional.tails import Tail
from opdkit.objectives.choices import Estimator, RewardForm, Support
from opdkit.objectives.policy import PolicyTerm


class Choices(PolicyTerm, Protocol):
    """The fields of `TokenDivergence` that are validated; documented there."""

    @property
    def support(self) -> Support: ...

    @property
    def k(self) -> int | None: ...

    @property
    def include_sampled(self) -> bool: ...

    @property
    def tail(self) -> Tail | None: ...

    @property
    def estimator(self) -> Estimator: ...

    @property
    def baseline(self) -> Baseline | None: ...

    @property
    def surrogate(self) -> Surrogate: ...

    @property
    def has_advantage(self) -> bool: ...


def check(objective: Choices) -> None:
    """Raises UserError with one line that names the key, its value and the reason."""
    _ranges(objective)
    _support(objective)
    _estimator(objective)
    _advantage(objective)
    _bounds(objective)


def warnings(objective: Choices) -> tuple[str, ...]:
    """Warnings about allowed but risky choices, one line each."""
    found: list[str] = []
    if objective.tail == "drop" and objective.estimator == "exact" and isinstance(objective.divergence, ReverseKL):
        found.append(
            "objective.tail=drop without renormalising: its optimum holds only M_q / e of the mass on the support, "
            "where M_q is the teacher's: it pushes about 63 % of the mass outside, and runs collapse "
            "(tail=renormalise does not)"
        )
    elif objective.tail == "drop" and objective.estimator == "exact":
        found.append("objective.tail=drop: probability outside the support is neither seen nor held")
    if objective.tail == "sampled_detached" and objective.estimator == "exact":
        found.append(
            "objective.tail=sampled_detached with estimator=exact: unbiased in value only, the mean gradient has the "
            "gradient of the mass on the support beside it (tail=sampled has not)"
        )
    if objective.estimator == "k3":
        found.append("objective.estimator=k3: its gradient is that of the forward KL, KL(q || p), not of the reverse")
    return tuple(found)


def _ranges(objective: Choices) -> None:
    _one_of("support", objective.support, get_args(Support))
    _one_of("estimator", objective.estimator, get_args(Estimator))
    if objective.tail is not None:
        _one_of("tail", objective.tail, get_args(Tail))
    _require(0.0 <= objective.discount <= 1.0, "discount", objective.discount, "between 0 and 1")
    _require(math.isfinite(objective.reward_weight), "reward_weight", objective.reward_weight, "a finite number")
    bound = objective.clip_log_ratio
    _require(bound is None or bound > 0.0, "clip_log_ratio", bound, "above 0, or null")


def _support(objective: Choices) -> None:
    support, k, tail = objective.support, objective.k, objective.tail
    if support in ("sampled", "full"):
        _require(k is None, "k", k, f"null with support={support}, which has no k")
        _require(tail is None, "tail", tail, f"null with support={support}, which leaves no tail")
        included = objective.include_sampled
        _require(not included, "include_sampled", included, f"false with support={support}, which holds it already")
        return
    _require(k is not None, "k", k, f"given with support={support}")
    assert k is not None
    _require(tail is not None, "tail", tail, f"one of {', '.join(get_args(Tail))} with support={support}")
    least = 2 if tail == "renormalise" and not objective.include_sampled else 1
    reason = " (with one id the renormalised loss is always 0)" if least == 2 else ""
    _require(k >= least, "k", k, f"at least {least}{reason}")
    if objective.include_sampled and tail in ("sampled", "sampled_detached"):
        raise UserError(f"objective.tail={tail}: with include_sampled=true the sampled token is never in the tail")


def _estimator(objective: Choices) -> None:
    estimator, support, tail = objective.estimator, objective.support, objective.tail
    name = f"objective.estimator={estimator}"
    if support == "sampled":
        if estimator == "exact":
            raise UserError(f"{name}: one sampled token is no sum; with support=sampled choose score, k1, k2 or k3")
        if estimator != "score" and not isinstance(objective.divergence, ReverseKL):
            raise UserError(f"{name}: an estimate of the reverse KL; with another divergence choose score")
        return
    if estimator in ("k1", "k2", "k3"):
        raise UserError(f"{name}: an estimate from the sampled token; with support={support} choose exact or score")
    if estimator == "score" and tail not in ("drop", "sampled_detached"):
        what = "the full vocabulary" if support == "full" else f"tail={tail}"
        reason = "makes the head's gradient and the tail's disagree" if tail == "sampled" else "changes nothing there"
        raise UserError(f"{name}: with {what} it {reason}; choose exact")


def _advantage(objective: Choices) -> None:
    if objective.clip_log_ratio is not None and not (objective.estimates_by_policy or objective.discount > 0):
        raise UserError(
            f"objective.clip_log_ratio={objective.clip_log_ratio}: bounds an advantage, and without discount "
            f"estimator={objective.estimator} on support={objective.support} has none"
        )
    if isinstance(objective.divergence, DensityPower) and (
        objective.discount > 0 or "sampled" in (objective.tail or "")
    ):
        raise UserError(
            "objective.divergence=density_power: what one sampled id sees of it is unbounded; choose discount=0 and a "
            "tail without the sampled token"
        )
    if objective.normalise_returns and objective.discount == 0.0:
        raise UserError("objective.normalise_returns=true: there are no returns at discount=0")
    if not objective.has_advantage and (objective.whiten or objective.surrogate != Ratio()):
        name = "whiten=true" if objective.whiten else f"surrogate={type(objective.surrogate).__name__}"
        raise UserError(
            f"objective.{name}: acts on an advantage, and there is none "
            "(estimator=score on support=sampled, discount or reward_weight make one)"
        )


def _bounds(objective: Choices) -> None:
    form, floor = objective.reward_form, objective.floor
    _one_of("reward_form", form, get_args(RewardForm))
    if form != "raw" and objective.reward_weight == 0.0:
        raise UserError(f"objective.reward_form={form}: says what the reward is worth, and reward_weight=0")
    _require(floor is None or 0.0 < floor < 1.0, "floor", floor, "between 0 and 1, both excluded, or null")
    if floor is not None and not (objective.has_advantage and isinstance(objective.divergence, ReverseKL)):
        raise UserError(f"objective.floor={floor}: bounds the log-ratio of an advantage, and there is none")
    if objective.baseline is None:
        return
    if not objective.estimates_by_policy:
        raise UserError("objective.baseline: measures a sampled token's cost; choose support=sampled, estimator=score")
    if objective.whiten:
        raise UserError("objective.baseline: whiten=true measures the advantage from its own mean; choose one")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, name, value, f"one of {', '.join(allowed)}")


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else value
        raise UserError(f"objective.{name}={shown}: must be {allowed}")
