"""The gradient's probe in a run: exact, and without a trace in what is learnt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.diagnostics import ProbeSettings
from opdkit.diagnostics.probe import Probed, position_limits, report
from opdkit.diagnostics.projection import Projection, names_of
from opdkit.errors import UserError
from opdkit.training import probe as module
from opdkit.training.collect import RolloutCollector
from opdkit.training.experiment import Experiment
from opdkit.training.probe import Probe
from opdkit.training.session import Session, close_session, open_session
from opdkit.training.sources import StepSize
from tests.invariants.conftest import merged, metrics, weights

SMALL = ("probe.prompts=3", "probe.rollouts=2", "probe.positions=2", "probe.projection=64")


@pytest.fixture
def opened(pair: list[str]) -> Iterator[Callable[..., tuple[Experiment, Session]]]:
    """opened(*overrides) -> an experiment and its session, nothing trained."""

    def make(*overrides: str) -> tuple[Experiment, Session]:
        source = Source("train")
        typed = merged(*pair, *SMALL, *overrides)
        config = compose(source, typed, with_hydra=True)
        chosen = {str(key): str(value) for key, value in config.hydra.runtime.choices.items()}
        with open_dict(config):
            del config["hydra"]
        experiment = build_experiment(config, Origin(typed, chosen, source.folders))
        return experiment, open_session(experiment, None)

    yield make
    close_session()


def afresh(probe: Probe) -> RolloutCollector:
    size = StepSize(probe.settings.prompts, probe.settings.rollouts)
    return replace(probe.collector, source=probe.collector.source.restarted(size, probe.collector.settings.seed))


def probed(experiment: Experiment, session: Session, monkeypatch: pytest.MonkeyPatch) -> tuple[Probe, Probed]:
    seen: list[Probed] = []
    monkeypatch.setattr(module, "report", lambda found: seen.append(found) or report(found))
    probe = Probe.of(experiment.probe, session.tasks[""], session, experiment.seed)
    probe.measure(5)
    return probe, seen[0]


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "sequence_sum"])
@pytest.mark.parametrize("objective", ["topk", "sampled"])
def test_rollouts_and_positions_add_up_to_the_whole_gradient(
    objective: str, aggregation: str, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One ordinary backward pass over the probe's rollouts, through the same signs."""
    experiment, session = opened(f"objective={objective}", f"aggregation={aggregation}")
    probe, found = probed(experiment, session, monkeypatch)
    batch = afresh(probe).collect(5)[0].batch
    student = session.policy.model.module
    projection = Projection(names_of(student, student.parameters()), 64, probe.collector.settings.seed)
    denominator = experiment.aggregation.denominator(batch.loss_mask)
    with projection:
        session.updater.weighted_loss(batch, denominator)[1].value.sum().backward()
        whole = projection.taken()
    assert found.objective.shape[:3] == (3, 2, 2)
    assert sum(found.tokens) == int(batch.loss_mask.sum())
    torch.testing.assert_close(found.objective.sum(2).mean((0, 1)), whole, rtol=1e-4, atol=1e-5)
    assert whole.abs().max() > 1e-2


def test_the_sequence_level_objective_has_no_bias(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """At discount 1 the objective is the reference; at 0 it is not."""
    experiment, session = opened("objective=sampled", "objective.discount=1.0")
    _, found = probed(experiment, session, monkeypatch)
    torch.testing.assert_close(found.objective.sum(2), found.sequence, rtol=1e-4, atol=1e-4)
    close_session()
    experiment, session = opened("objective=sampled")
    _, found = probed(experiment, session, monkeypatch)
    assert (found.objective.sum(2) - found.sequence).abs().max() > 0.1


def test_prompts_are_fixed_and_rollouts_are_not(opened) -> None:
    experiment, session = opened()
    probe = Probe.of(experiment.probe, session.tasks[""], session, experiment.seed)
    first, second = (afresh(probe).collect(step)[0].batch.rollout for step in (1, 2))
    assert [p.identifier for p in first.prompts.problems] == [p.identifier for p in second.prompts.problems]
    assert len({p.identifier for p in first.prompts.problems}) == 3
    assert first.tokens.shape != second.tokens.shape or (first.tokens != second.tokens).any()
    assert session.tasks[""].collector.source.sampler.cursor == 0


def test_a_probe_leaves_no_trace(train: Callable[..., Path]) -> None:
    """Same weights, same metrics; its numbers and tables where it was due."""
    plain = train("plain")
    watched = train("watched", "probe_every=2", *SMALL)
    assert weights(plain) == weights(watched)
    for ours, theirs in zip(metrics(plain), metrics(watched), strict=True):
        assert ours == {name: value for name, value in theirs.items() if not name.startswith("probe/")}
    lines = [json.loads(line) for line in (watched / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "probe/noise_scale" in line] == [1, 3]
    tables = [json.loads(line) for line in (watched / "diagnostics.jsonl").read_text().splitlines()]
    assert {"gradient_by_layer", "gradient_by_position"} <= {table["diagnostic"] for table in tables}


def test_position_limits_share_out_the_tokens() -> None:
    lengths = [2, 3, 5, 9, 9, 12]
    loss_mask = torch.arange(12)[None] < torch.tensor(lengths)[:, None]
    limits = position_limits(loss_mask, 4)
    assert limits == [0, 2, 4, 7, 12]  # 12, 9, 10 and 9 of 40 tokens
    assert position_limits(loss_mask, 1) == [0, 12]
    assert position_limits(torch.ones(1, 2, dtype=torch.bool), 4) == [0, 1, 2]
    assert position_limits(torch.zeros(2, 3, dtype=torch.bool), 2)[-1] == 3


def test_bad_settings() -> None:
    with pytest.raises(UserError, match=r"probe.rollouts=1: must be at least 2"):
        ProbeSettings(rollouts=1)
