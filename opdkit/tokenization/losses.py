"""Losses and log-ratios between models with different tokenizers, on groups of an alignment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from opdkit.functional.divergences import JensenShannon
from opdkit.tokenization.alignment import Alignment


def span_sums(log_prob: Tensor, spans: Sequence[range]) -> Tensor:
    """L_g = sum over tokens t in span g of log p_t, f[G].

    log_prob f[n] of the sampled tokens of one side; spans: G of them, contiguous from the first token.
    """
    owner = torch.tensor([g for g, span in enumerate(spans) for _ in span], dtype=torch.long, device=log_prob.device)
    return log_prob.new_zeros(len(spans)).scatter_add(0, owner, log_prob[: len(owner)])


def span_log_ratio(student: Tensor, teacher: Tensor, alignment: Alignment) -> Tensor:
    """r_g = log q(span g) - log p(span g), f[G]: the teacher's sum over a span minus the student's.

    student f[n] log p and teacher f[m] log q, of each side's own tokens.
    """
    ours = span_sums(student, [group.student for group in alignment.groups])
    return span_sums(teacher, [group.teacher for group in alignment.groups]) - ours


def share_span_log_ratio(student: Tensor, teacher: Tensor, alignment: Alignment) -> Tensor:
    """log q_t = log p_t + r_g / |g|, f[n']: the teacher's log-probs on the student's tokens, n' those in groups.

    Each token of a span gets an equal share of the span's log-ratio, so that sums over spans are the teacher's; on a
    one-to-one span it is log q_t itself.
    """
    ratio = span_log_ratio(student, teacher, alignment)
    sizes = torch.tensor([len(group.student) for group in alignment.groups], device=student.device)
    shared = (ratio / sizes).repeat_interleave(sizes)
    value = student[: len(shared)] + shared
    rows = torch.tensor(alignment.strict, dtype=torch.long, device=student.device).reshape(-1, 2)
    return value.index_put((rows[:, 0],), teacher[rows[:, 1]])


def uld(log_p: Tensor, log_q: Tensor) -> Tensor:
    """sum_i |p_(i) - q_(i)|, f[...]: L1 between the two distributions, each sorted in descending order.

    log_p f[..., V_student] and log_q f[..., V_teacher]; the shorter one is zero-padded. Boizard et al. 2024 (arXiv
    2402.12030). It compares the shapes of the distributions, not the identity of tokens.
    """
    p, q = (x.exp().sort(dim=-1, descending=True).values for x in (log_p, log_q))
    width = max(p.shape[-1], q.shape[-1])
    p, q = (torch.nn.functional.pad(x, (0, width - x.shape[-1])) for x in (p, q))
    return (p - q).abs().sum(-1)


def merge_spans(log_prob: Tensor, tokens: Tensor, spans: Sequence[range]) -> Tensor:
    """log P_g(v) = log p_first(v) + sum over later tokens t of the span of log p_t(y_t), f[G, V].

    log_prob f[n, V] before each token; tokens i64[n]. A one-token span has that token's distribution; a longer one the
    joint mass of each first token with the rest, which sums to less than one.
    """
    first = torch.tensor([span.start for span in spans], device=log_prob.device)
    sampled = log_prob.gather(-1, tokens[:, None])[:, 0]
    later = span_sums(sampled, spans) - sampled[first]
    return log_prob[first] + later[:, None]


def gold(
    log_p: Tensor,
    log_q: Tensor,
    pairs: Tensor | None,
    beta: float = 0.5,
    weights: tuple[float, float] | None = None,
) -> Tensor:
    """w JSD_beta(p, q) over the shared ids + w' ULD over the others, f[...].

    log_p f[..., V_student], log_q f[..., V_teacher], of aligned tokens or of merged spans; pairs i64[S, 2], the
    student's id and the teacher's, None for one vocabulary. weights: w and w', None for S / V_teacher and the rest of
    one. General on-policy logit distillation, TRL's `GOLDTrainer`. With one vocabulary it is the JSD.
    """
    jsd = JensenShannon(beta)
    if pairs is None:
        return jsd.terms(log_p, log_q).sum(-1) * (1.0 if weights is None else weights[0])
    ids = pairs.to(log_p.device).unbind(1)
    same = jsd.terms(log_p[..., ids[0]], log_q[..., ids[1]]).sum(-1)
    ours, theirs = (_others(x.shape[-1], one) for x, one in ((log_p, ids[0]), (log_q, ids[1])))
    share = len(pairs) / log_q.shape[-1]
    matched, ranked = (share, 1.0 - share) if weights is None else weights
    return matched * same + ranked * uld(log_p[..., ours], log_q[..., theirs])


def _others(size: int, ids: Tensor) -> Tensor:
    """bool[size], True for ids not in `ids`."""
    return torch.ones(size, dtype=torch.bool, device=ids.device).index_fill(0, ids, False)
