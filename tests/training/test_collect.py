"""What a collector hands to the updates: which tokens count, and the log-probs that ratios are taken against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Author
from opdkit.training.collect import CollectSettings
from opdkit.training.policy import Policy
from opdkit.training.update import ScoredBatch
from tests.training.episodes import collect, episodes


@pytest.mark.parametrize("author", ["student", "teacher"])
def test_what_another_author_thought_of_its_tokens_is_not_taken_for_the_students(
    author: Author, policy: Policy, pair: Path
) -> None:
    own = episodes(policy)
    told = replace(own, author=author, behaviour_log_prob=own.behaviour_log_prob - 3.0, entropy=own.entropy + 5.0)
    found = collect(policy, pair, told, CollectSettings(0, None, 1, 1, MicroBatch(4), stats_every=1)).rollout
    expected = told if author == "student" else own
    where = own.sampled_mask
    torch.testing.assert_close(found.behaviour_log_prob[where], expected.behaviour_log_prob[where])
    assert found.entropy is not None
    assert expected.entropy is not None
    torch.testing.assert_close(found.entropy[where], expected.entropy[where])


@pytest.mark.parametrize("collected", [2], indirect=True)
def test_tokens_that_the_policy_did_not_sample_never_count(collected: ScoredBatch) -> None:
    assert collected.loss_mask.tolist() == [[True] * 3 + [False] * 2 + [True] * 2, [True] * 2 + [False] * 5]
