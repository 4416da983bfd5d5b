from __future__ import annotations

import itertools
from typing import get_args

import pytest

from opdkit.errors import UserError
from opdkit.functional.baselines import Baseline
from opdkit.functional.divergences import DensityPower, ForwardKL
from opdkit.functional.surrogates import Clipped
from opdkit.functional.tails import Tail
from opdkit.objectives import GroupRelativePolicy, TokenDivergence
from opdkit.objectives.choices import Estimator, Support

TOP = {"support": "teacher", "k": 4, "tail": "renormalise"}
SAMPLED = {"support": "sampled", "estimator": "score"}


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({**TOP, "support": "teachr"}, r"objective\.support=teachr: must be one of sampled, teacher"),
        ({**TOP, "estimator": "exct"}, r"objective\.estimator=exct: must be one of exact, score"),
        ({**TOP, "tail": "renorm"}, r"objective\.tail=renorm: must be one of renormalise, drop"),
        ({**TOP, "k": 1}, r"objective\.k=1: must be at least 2 .*always 0"),
        ({**TOP, "k": None}, r"objective\.k=null: must be given with support=teacher"),
        ({**TOP, "tail": None}, r"objective\.tail=null: must be one of"),
        ({**TOP, "k": 0, "tail": "drop"}, r"objective\.k=0: must be at least 1"),
        ({**SAMPLED, "k": 32}, r"objective\.k=32: must be null with support=sampled"),
        ({**SAMPLED, "tail": "drop"}, r"objective\.tail=drop: must be null with support=sampled"),
        ({**SAMPLED, "include_sampled": True}, r"objective\.include_sampled=true: must be false"),
        ({"support": "full", "k": 8}, r"objective\.k=8: must be null with support=full"),
        ({**SAMPLED, "estimator": "exact"}, "one sampled token is no sum"),
        ({**SAMPLED, "estimator": "k2", "divergence": ForwardKL()}, "estimate of the reverse KL"),
        ({**TOP, "estimator": "k3"}, "an estimate from the sampled token"),
        ({**TOP, "estimator": "score"}, "changes nothing there; choose exact"),
        ({"support": "full", "estimator": "score"}, "with the full vocabulary it changes nothing"),
        ({**TOP, "tail": "sampled", "estimator": "score"}, "disagree"),
        ({**TOP, "tail": "sampled", "include_sampled": True}, "never in the tail"),
        ({**SAMPLED, "discount": 1.5}, r"objective\.discount=1\.5: must be between 0 and 1"),
        ({**SAMPLED, "clip_log_ratio": 0.0}, r"objective\.clip_log_ratio=0\.0: must be above 0"),
        ({**TOP, "clip_log_ratio": 5.0}, "bounds an advantage"),
        ({**SAMPLED, "normalise_returns": True}, "no returns at discount=0"),
        ({**SAMPLED, "divergence": DensityPower(), "discount": 0.5}, "one sampled id sees of it is unbounded"),
        ({**SAMPLED, "reward_form": "ranked"}, r"objective\.reward_form=ranked: must be one of raw, group"),
        ({**SAMPLED, "reward_form": "group"}, "reward_weight=0"),
        ({**SAMPLED, "floor": 1.0}, r"objective\.floor=1\.0: must be between 0 and 1"),
        ({**SAMPLED, "floor": 0.1, "divergence": ForwardKL()}, r"objective\.floor=0\.1: bounds the log-ratio"),
        ({**TOP, "baseline": Baseline()}, "a sampled token's cost"),
        ({**SAMPLED, "baseline": Baseline(), "whiten": True}, "choose one"),
        ({**TOP, "whiten": True}, r"objective\.whiten=true: acts on an advantage"),
        ({**TOP, "surrogate": Clipped()}, r"objective\.surrogate=Clipped: acts on an advantage"),
    ],
)
def test_refuses_with_the_key_and_the_reason(choices, told):
    with pytest.raises(UserError, match=told):
        TokenDivergence(**choices)


def test_every_other_product_is_allowed_and_says_what_it_needs():
    """The whole product of names: either one line of refusal, or needs that hang together."""
    allowed, refused = 0, list[str]()
    tails = (None, *get_args(Tail))
    for support, tail, estimator, k in itertools.product(get_args(Support), tails, get_args(Estimator), (None, 1, 4)):
        try:
            objective = TokenDivergence(support=support, tail=tail, estimator=estimator, k=k)
        except UserError as error:
            refused.append(str(error))
            continue
        allowed += 1
        needs = objective.needs
        assert needs.k == (k or 0)
        model = needs.student
        assert needs.teacher == model
        assert (needs.support is not None) + model.vocabulary + (needs.support is None and model.sampled) == 1
        assert model.logsumexp == (tail not in (None, "renormalise"))
    assert all(line.startswith("objective.") and "\n" not in line for line in refused)
    # sampled: score, k1, k2, k3; full: exact; 4 supports: renormalise at k = 4, and with k = 1 and 4
    # drop (exact, score), bucket, sampled, sampled_detached (exact, score).
    assert allowed == 4 + 1 + 4 * (1 + 2 * 6)


@pytest.mark.parametrize(
    ("key", "value"), [("clip_range", 0.0), ("dual_clip", 1.0), ("kl_weight", -1.0), ("kl_weight", float("inf"))]
)
def test_grpo_refuses_what_is_out_of_range(key, value):
    with pytest.raises(UserError, match=rf"objective\.{key}={value}"):
        GroupRelativePolicy(**{key: value})


def test_warnings_are_for_what_should_be_known():
    assert TokenDivergence(**TOP).warnings == ()
    assert "63 %" in TokenDivergence(k=4, tail="drop").warnings[0]
    assert "seen nor held" in TokenDivergence(k=4, tail="drop", divergence=ForwardKL()).warnings[0]
    assert "gradient of the mass" in TokenDivergence(k=4, tail="sampled_detached").warnings[0]
    assert "forward KL" in TokenDivergence(**{**SAMPLED, "estimator": "k3"}).warnings[0]
    assert TokenDivergence(k=4, tail="sampled_detached", estimator="score").warnings == ()
