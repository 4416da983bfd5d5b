"""The paper's claims, the runs that test them, and the rules for the verdicts.

The rules and limits below were written before looking at any of these sweeps' results except those of the reference
(top-K, K = 32). docs/results/embedded.md, top-K against sampled-token at 60 steps, and six steps under the planted
mismatch were known. `unstable` was added later, before its two measures had been computed for any run. What is learnt
from the numbers goes into `paper_notes.yaml`, never into a rule.

Sources: arXiv 2603.25562. Its scores are means over five mathematical benchmarks, without seeds or intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LEAST_SEEDS = 3
"""Minimum number of shared seeds for a verdict."""
SMALL = 3.0
"""Points: a difference whose interval lies within +-SMALL is smaller than what the paper reports."""
ALIKE = 5.0
"""Points: two configurations are alike if the interval of their difference lies within +-ALIKE."""
FALL_STEPS = 5
"""Window, in steps, of the mean reward used by `unstable`."""
ORDER = 1.0
"""Threshold, in powers of ten, for "an order of magnitude"."""

Rule = Literal["better", "alike", "unstable", "collapse", "variance_rises", "variance_by_orders", "no_number"]

RULES: dict[Rule, str] = {
    "better": "*A is better than B.* Reproduced: mean difference above 0 and p < 0.05 after Holm's correction. Not "
    f"reproduced: below 0 and p < 0.05, or an interval within ±{SMALL:g} points. Otherwise not testable "
    "with these seeds.",
    "alike": f"*A and B are alike.* Reproduced: an interval of the difference within ±{ALIKE:g} points. Not "
    "reproduced: p < 0.05 after Holm's correction. Otherwise not testable.",
    "unstable": "*A is less stable than B.* Two measures of a run, compared seed by seed with Holm's correction over "
    f"the two: its largest fall, the drop of the mean training reward of {FALL_STEPS} steps below its previous "
    "maximum, in points; and its spike, the base-10 logarithm of the largest over the median gradient norm. "
    "Reproduced: one is higher with p < 0.05 and none lower. Not reproduced: one is lower with p < 0.05 and none "
    "higher. Otherwise not testable.",
    "collapse": "*A collapses.* Reproduced: every seed ends below the untrained student, and their mean below half of "
    "it. Not reproduced: every seed ends above it. Otherwise not testable.",
    "variance_rises": "*Variance rises.* The base-10 logarithm of the ratio of the gradient's variances, A over B, "
    "seed by seed. Reproduced: its interval lies above 0. Not reproduced: below 0. Otherwise not testable.",
    "variance_by_orders": f"*By orders of magnitude.* The same ratio. Reproduced: its interval lies above {ORDER:g}. "
    f"Not reproduced: below {ORDER:g}. Otherwise not testable.",
    "no_number": "*Compared without available numbers.* Not testable.",
}


@dataclass(frozen=True)
class Case:
    """One configuration: its name in tables, and its overrides of the experiment."""

    name: str
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """The paper's claim about `first` (against `second`, both names of cases), in its numbers, and the rule."""

    text: str
    rule: Rule
    first: str = ""
    second: str = ""


@dataclass(frozen=True)
class Ablation:
    """One section of the page. pairs: (first, second), the reported differences, one Holm family."""

    name: str
    title: str
    experiment: str
    cases: tuple[Case, ...]
    pairs: tuple[tuple[str, str], ...]
    claims: tuple[Claim, ...]
    wall_time: bool = False
    before: str = ""


def _against(reference: Case, *others: Case) -> tuple[tuple[str, str], ...]:
    return tuple((other.name, reference.name) for other in others)


def _objective(name: str) -> Case:
    return Case(name, (f"objective={name}",))


def _crossed(objective: str, masking: str) -> Case:
    name = objective if masking == "none" else f"{objective} + {masking}"
    return Case(name, (f"objective={objective}", f"masking={masking}"))


_TOPK = _objective("topk")
_SAMPLED = _objective("sampled")
_OTHERS = [_objective(name) for name in ("sampled", "topk_student", "full_reverse_kl", "gkd_forward")]
_SUPPORTS = [_objective(name) for name in ("topk_student", "topk_union", "topk_intersection", "full_reverse_kl")]
_TAILS = [_objective(name) for name in ("topk_unnormalised", "topk_bucket", "many_faces")]
_K = {k: Case(f"K = {k}", (f"k={k}",)) for k in (32, 48, 16, 8, 4, 2)}
_P = {p: Case(f"top-p {p}", (f"sampler.p={p}",)) for p in (0.9, 1.0, 0.8)}
_MASKS = [Case(name, (f"masking={name}",)) for name in ("none", "first_occurrence", "special_spans", "entropy")]
_GAMMAS = {g: Case(f"discount {g}", (f"objective.discount={g}",)) for g in (0.0, 0.25, 0.5, 0.75, 1.0)}
_FOUR = [_crossed(o, m) for o in ("sampled", "topk") for m in ("none", "first_occurrence")]
_SIX = [_crossed(o, m) for o in ("sampled", "topk") for m in ("none", "first_occurrence", "special_spans")]

ABLATIONS = (
    Ablation(
        "single_task", "The four methods on one task", "paper_single_task", tuple(_FOUR),
        (("topk", "sampled"), ("sampled + first_occurrence", "sampled"), ("topk + first_occurrence", "topk"),
         ("topk + first_occurrence", "sampled + first_occurrence")),
        (
            Claim("top-K is better than sampled-token: mean 41.7 against 36.4", "better", "topk", "sampled"),
            Claim("the mask helps sampled-token: 40.7 against 36.4", "better", "sampled + first_occurrence", "sampled"),
            Claim("the mask does not change top-K: 41.5 against 41.7", "alike", "topk + first_occurrence", "topk"),
        ),
        wall_time=True,
    ),
    Ablation(
        "objective", "Objective", "ablation_objective", (_TOPK, *_OTHERS), _against(_TOPK, *_OTHERS),
        (Claim("top-K is better than sampled-token: mean 41.7 against 36.4", "better", "topk", "sampled"),),
    ),
    Ablation(
        "support", "Support", "ablation_support", (_TOPK, *_SUPPORTS), _against(_TOPK, *_SUPPORTS),
        (Claim("App. G.3 compares supports of the teacher, of the student, and with the sampled token", "no_number"),),
    ),
    Ablation(
        "k", "Size of the support", "ablation_k", tuple(_K.values()), _against(*_K.values()),
        (
            Claim("of K = 16, 32, 48 the larger two are alike", "alike", "K = 48", "K = 32"),
            Claim("too small a K is unstable", "unstable", "K = 2", "K = 32"),
        ),
    ),
    Ablation(
        "top_p", "Top-p of the rollouts", "ablation_top_p", tuple(_P.values()), _against(*_P.values()),
        (
            Claim("1.0 is unstable", "unstable", "top-p 1.0", "top-p 0.9"),
            Claim("1.0 is worse: AIME24 avg@32 17.7 without top-p, 23.6 with it", "better", "top-p 0.9", "top-p 1.0"),
            Claim("0.9 and 0.8 are alike", "alike", "top-p 0.8", "top-p 0.9"),
        ),
    ),
    Ablation(
        "masking", "Masking, without a mismatch", "ablation_masking", tuple(_MASKS), _against(*_MASKS),
        (Claim("the mask does not change top-K: 41.5 against 41.7", "alike", "first_occurrence", "none"),),
    ),
    Ablation(
        "mismatch", "Masking, under a planted mismatch", "ablation_mismatch", tuple(_SIX),
        (("sampled + first_occurrence", "sampled"), ("topk + first_occurrence", "topk"),
         ("sampled + special_spans", "sampled"), ("topk + special_spans", "topk"), ("topk", "sampled")),
        (
            Claim("the mask helps sampled-token: 40.7 against 36.4", "better", "sampled + first_occurrence", "sampled"),
            Claim("the mask does not change top-K: 41.5 against 41.7", "alike", "topk + first_occurrence", "topk"),
        ),
        before="python scripts/assets/plant_mismatch.py --output runs/teacher_mismatch",
    ),
    Ablation(
        "renormalisation", "Renormalisation", "ablation_renormalisation", (_TOPK, *_TAILS), _against(_TOPK, *_TAILS),
        (Claim("without renormalisation training collapses: score 0 within about 30 steps", "collapse",
               "topk_unnormalised"),),
    ),
    Ablation(
        "gamma", "Discount of later log-ratios", "ablation_gamma", tuple(_GAMMAS.values()),
        _against(*_GAMMAS.values()),
        (
            Claim("the gradient variance rises with the discount (App. D)", "variance_rises", "discount 1.0",
                  "discount 0.0"),
            Claim("by one to several orders of magnitude (App. E, a control task)", "variance_by_orders",
                  "discount 1.0", "discount 0.0"),
            Claim("discount 0 learns, 1 drifts (App. E, a control task)", "better", "discount 0.0", "discount 1.0"),
        ),
    ),
)  # fmt: skip
