"""`opdkit.load_objective`: an objective as a loss function of student and teacher logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from opdkit.api.scores import entropy, score_logits
from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.config.build import build_loss
from opdkit.config.location import groups, search_folders
from opdkit.data.loss import Aggregation, Needs, Objective, StepBatch, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.objectives import TokenDivergence
from opdkit.training.requests import before_request, student_request, teacher_request


def load_objective(
    name: str,
    *,
    aggregation: str = "token_mean",
    config_dir: str | Path | None = None,
    **choices: str | float | bool | None,
) -> LogitObjective:
    """The objective of `opdkit train objective=<name>` as a callable on logits.

    Args:
        name: an option of `opdkit ls objective`, or of `config_dir`.
        aggregation: reduction of token losses, an option of `opdkit ls aggregation`.
        config_dir: folder with your own options.
        choices: keys of the objective, e.g. `k=32` or `discount=0.9`; `divergence`, `surrogate` and `weighting` take
            option names.

    Raises:
        UserError: for an unknown objective, key or value.
    """
    folder = None if config_dir is None else str(config_dir)
    inner = groups(search_folders(folder))
    typed = [
        f"objective/{key}={value}" if f"objective/{key}" in inner else f"objective.{key}={_typed(value)}"
        for key, value in choices.items()
    ]
    flags = [] if folder is None else ["--config-dir", folder]
    request = read("train", [f"objective={name}", f"aggregation={aggregation}", *typed, *flags])
    return LogitObjective(*build_loss(*single_job(request, "opdkit.load_objective")))


def _typed(value: str | float | bool | None) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class LogitObjective:
    """A loss function of student and teacher logits.

    Attributes:
        objective: the per-token loss.
        aggregation: reduction of token losses.
    """

    objective: Objective
    aggregation: Aggregation

    def __call__(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None,
        *,
        tokens: Tensor | None = None,
        mask: Tensor | None = None,
        old_log_prob: Tensor | None = None,
        reward: Tensor | None = None,
        group: Tensor | None = None,
    ) -> Tensor:
        """The differentiable loss of a batch, f[]; same arguments as `per_token`."""
        given = {"tokens": tokens, "old_log_prob": old_log_prob, "reward": reward, "group": group}
        token_loss = self.per_token(student_logits, teacher_logits, mask=mask, **given)
        counted = _mask(student_logits, mask)
        weights = self.aggregation.weights(counted, self.aggregation.denominator(counted))
        return (token_loss.value * weights).sum()

    def per_token(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor | None,
        *,
        tokens: Tensor | None = None,
        mask: Tensor | None = None,
        old_log_prob: Tensor | None = None,
        reward: Tensor | None = None,
        group: Tensor | None = None,
    ) -> TokenLoss:
        """Per-token losses and metrics.

        Args:
            student_logits: f[B, T, V] with gradient; position t predicts token t of the response, so the logits of a
                causal model are shifted by one. Divided by the sampling temperature.
            teacher_logits: f[B, T, V] at the same positions, treated as constants. None without a teacher.
            tokens: i64[B, T], ids sampled by the student. Required by sampled-token objectives.
            mask: bool[B, T], loss mask. None: all tokens.
            old_log_prob: f[B, T], the student's log-probs of the tokens before the first update on this batch. None for
                that first update.
            reward: f[B]. Required by objectives that use rewards.
            group: i64[B], equal for responses to one prompt. Required by objectives that compare siblings.

        Returns:
            value f[B, T], zero where the mask is False, and metrics of shape [B, T].

        Raises:
            UserError: for missing inputs or mismatched shapes.
        """
        given = _Given(tokens, old_log_prob, reward, group)
        counted = _mask(student_logits, mask)
        needs = self.objective.needs
        _check(self.objective, needs, student_logits, teacher_logits, counted, given)
        objective = _over_ids(self.objective, student_logits.shape[-1])
        return _token_loss(objective, student_logits, teacher_logits, counted, given)


@dataclass(frozen=True)
class _Given:
    """Inputs other than the logits; see `LogitObjective.per_token`."""

    tokens: Tensor | None
    old_log_prob: Tensor | None
    reward: Tensor | None
    group: Tensor | None


def _mask(logits: Tensor, mask: Tensor | None) -> Tensor:
    if logits.dim() != 3:
        raise UserError(f"student_logits of shape {list(logits.shape)}: must be [B, T, V]")
    return torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device) if mask is None else mask


def _check(
    objective: Objective, needs: Needs, student: Tensor, teacher: Tensor | None, mask: Tensor, given: _Given
) -> None:
    """Raises UserError for missing inputs or mismatched shapes."""
    name = type(objective).__name__
    rows, width, _ = student.shape
    sampled = needs.student.sampled or needs.include_sampled
    wanted: Mapping[str, tuple[Tensor | None, bool, tuple[int, ...]]] = {
        "teacher_logits": (teacher, needs.teacher is not None, tuple(student.shape)),
        "tokens": (given.tokens, sampled, (rows, width)),
        "mask": (mask, True, (rows, width)),
        "old_log_prob": (given.old_log_prob, False, (rows, width)),
        "reward": (given.reward, needs.reward, (rows,)),
        "group": (given.group, needs.reward and needs.advantage, (rows,)),
    }
    for key, (value, needed, shape) in wanted.items():
        if value is None and needed:
            raise UserError(f"{key}: {name} as set needs it, of shape {list(shape)}")
        if value is not None and tuple(value.shape) != shape:
            raise UserError(f"{key} of shape {list(value.shape)}: must be {list(shape)}, as student_logits are")
    if mask.dtype != torch.bool:
        raise UserError(f"mask of type {mask.dtype}: must be torch.bool, True where a token counts")
    if needs.k > student.shape[-1]:
        raise UserError(f"k={needs.k}: more than the vocabulary of {student.shape[-1]}")


def _over_ids(objective: Objective, vocabulary: int) -> Objective:
    """The same loss without hidden states: the full vocabulary as a support of all ids."""
    if not objective.needs.student.vocabulary:
        return objective
    if isinstance(objective, TokenDivergence) and objective.support == "full":
        # The tail is empty: both choices are equivalent, and each estimator allows one of them.
        tail = "drop" if objective.estimator == "score" else "renormalise"
        return replace(objective, support="teacher", k=vocabulary, tail=tail)
    raise UserError(f"{type(objective).__name__} needs hidden states and a head; logits are not enough")


def _token_loss(
    objective: Objective, student: Tensor, teacher: Tensor | None, mask: Tensor, given: _Given
) -> TokenLoss:
    """Follows the trainer: old student scores, teacher scores, advantage, student scores with gradient."""
    needs, tokens = objective.needs, given.tokens
    first = before_request(needs, needs.advantage)
    with torch.no_grad():
        before = None if first is None else score_logits(student.detach(), tokens, first)
        scores = Scores()
        if needs.teacher is not None and teacher is not None:
            scores = score_logits(teacher.detach(), tokens, teacher_request(needs, before, 0))
    old = given.old_log_prob
    advantage = None
    if needs.advantage:
        start = old if old is not None or before is None else before.sampled_log_prob
        step = StepBatch(mask, start, scores.sampled_log_prob, given.reward, given.group)
        advantage = objective.advantage(step)  # type: ignore[attr-defined]
    weighs = not isinstance(objective, TokenDivergence) or objective.weighting is not None
    batch = TokenBatch(mask, old, given.reward, tokens, entropy(student) if weighs else None, advantage)
    return objective(score_logits(student, tokens, student_request(needs, scores, 0)), scores, batch)
