"""Per-token losses from sampled log-ratios whose gradients estimate the gradient of a divergence."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

SampledKL = Literal["k1", "k2", "k3"]

# Log-ratios are clamped here, far outside any clip range, so that the unclipped side of the loss stays finite.
_LARGEST_LOG_RATIO = 20.0


def reward_to_go(values: Tensor, discount: float) -> Tensor:
    """G_t = sum_{t' >= t} discount^(t' - t) values_t', within each row.

    values f[B, T], zero on masked tokens; t' - t counts positions, masked ones included.
    discount 0 returns the values (g_tok of method App. D), 1 the plain sum from t on (causal g_seq).
    Takes log2(T) passes: after the pass with shift s, each entry holds the sum of its next 2s terms.
    """
    total, shift = values, 1
    while shift < values.shape[-1] and discount > 0:
        ahead = torch.nn.functional.pad(total[..., shift:], (0, shift))
        total, shift = total + discount**shift * ahead, 2 * shift
    return total


def score_function(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """-A_t log pi(y_t), with gradient -A_t s_t, s_t = grad log pi(y_t). Unbiased only for the first update on a batch.

    log_prob, advantage f[B, T]; no gradient through the advantage. Returns f[B, T].
    """
    return -advantage.detach() * log_prob


def importance_ratio(log_prob: Tensor, old_log_prob: Tensor) -> Tensor:
    """w = pi(y_t) / pi_old(y_t), f[B, T], clamped to stay finite; no gradient through the old log-probs."""
    return (log_prob - old_log_prob.detach()).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()


def ppo_surrogate(
    log_prob: Tensor,
    old_log_prob: Tensor,
    advantage: Tensor,
    clip_range: float,
    dual_clip: float | None,
    clip_range_high: float | None = None,
) -> Tensor:
    """PPO's clipped loss, max(-A w, -A clip(w, 1 - e, 1 + e_high)), w = exp(log_prob - old_log_prob).

    e is clip_range, and so is e_high where clip_range_high is None.
    Where A < 0 it is also at most -A c, c = dual_clip (None: no such bound). All f[B, T]; the advantage and
    the old log-probs are constants. At w = 1 the gradient is the score function's, -A s_t.
    Schulman et al. 2017 (arXiv 1707.06347); the dual clip: Ye et al. 2020 (arXiv 1912.09729).
    """
    advantage = advantage.detach()
    ratio = importance_ratio(log_prob, old_log_prob)
    high = clip_range if clip_range_high is None else clip_range_high
    loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1.0 - clip_range, 1.0 + high))
    if dual_clip is None:
        return loss
    return torch.where(advantage < 0, torch.minimum(loss, -advantage * dual_clip), loss)


def future(values: Tensor, discount: float) -> Tensor:
    """sum_{t' > t} discount^(t' - t) values_t', f[B, T]: `reward_to_go` without the token's own value."""
    return reward_to_go(values, discount) - values


def remaining(mask: Tensor) -> Tensor:
    """The number of unmasked tokens after each token, f32[B, T], at least 1. mask bool[B, T]."""
    counts = mask.float()
    return (counts.sum(1, keepdim=True) - counts.cumsum(1)).clamp(min=1.0)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Normalise the unmasked values to mean 0 and std 1; zeros elsewhere. values f[B, T]; mask bool[B, T]."""
    selected = values[mask]
    if selected.numel() < 2:
        return torch.zeros_like(values)
    centred = (values - selected.mean()) / (selected.std(unbiased=False) + 1e-8)
    return torch.where(mask, centred, 0.0)


def sampled_kl(log_prob: Tensor, old_log_prob: Tensor, teacher_log_prob: Tensor, estimator: SampledKL) -> Tensor:
    """One-sample estimates of KL(pi || q) at each token, f[B, T], to be differentiated as they are.

    With r = log pi - log q and w = pi / pi_old, the correction for tokens sampled before the last update:
    k1: w r, gradient (1 + r) w s: unbiased for the gradient of KL(pi || q), since E[s] = 0.
    k2: sg(w) r^2 / 2, gradient w r s: the score function itself, unbiased for the gradient of KL(pi || q).
    k3: sg(w) (exp(-r) - 1 + r), gradient w (1 - q / pi) s: unbiased for the gradient of KL(q || pi), the forward KL.
    As values, all three estimate KL(pi || q), k2 with bias. Schulman 2020, "Approximating KL divergence".
    """
    ratio = log_prob - teacher_log_prob.detach()
    weight = importance_ratio(log_prob, old_log_prob)
    if estimator == "k1":
        return weight * ratio
    if estimator == "k2":
        return weight.detach() * 0.5 * ratio.square()
    return weight.detach() * ((-ratio).clamp(max=_LARGEST_LOG_RATIO).exp() - 1.0 + ratio)
