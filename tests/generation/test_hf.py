"""The decode loop against transformers' own forward pass and generate."""

from __future__ import annotations

import pytest
import torch

from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import Ask, HFRollout, Sampling, Turn, pack
from opdkit.samplers import Ancestral, TopP
from tests.tiny import rendered, tiny_model, tiny_problems, written


def everything(logits: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(logits, dtype=torch.bool)


def best(logits: torch.Tensor) -> torch.Tensor:
    return logits == logits.amax(dim=-1, keepdim=True)


def write(
    count: int = 6, batch_size: int = 64, temperature: float = 1.0, sampler=everything, limit: int = 24
) -> Rollout:
    model = tiny_model(0)
    problems = rendered(model, tiny_problems(count))
    return written(HFRollout(limit, 256, batch_size), model, problems, sampler, temperature, list(range(count)))


def rows_of(rollout: Rollout) -> list[list[int]]:
    lengths = rollout.sampled_mask.sum(dim=1).tolist()
    return [row[:n] for row, n in zip(rollout.tokens.tolist(), lengths, strict=True)]


def test_what_a_row_says_does_not_depend_on_its_batch() -> None:
    together, apart = write(batch_size=64), write(batch_size=2)
    assert rows_of(together) == rows_of(apart)
    assert torch.allclose(together.behaviour_log_prob, apart.behaviour_log_prob, atol=1e-4)


def test_a_small_cache_makes_small_batches_and_the_same_rows() -> None:
    model = tiny_model(0)
    problems = rendered(model, tiny_problems(6))
    longest = max(len(ids) for _, ids in problems)
    config = model.module.config
    token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4
    assert model.cache_bytes == token
    room = 2 * (longest + 24) * token / 2**30
    settings = HFRollout(24, 256, 64, cache_gib=room)
    engine = settings.open(model)
    asks = [Ask((0,) * length, 0, 24) for length in (longest, longest // 2, 10_000)]
    assert [engine.rows_at_once(ask) for ask in asks] == [
        2,
        2 * (longest + 24) // (longest // 2 + 24),
        1,
    ]
    assert rows_of(written(settings, model, problems, everything, 1.0, list(range(6)))) == rows_of(write())


def test_the_order_of_the_problems_is_kept() -> None:
    rollout = write(batch_size=2)
    assert [p.identifier for p in rollout.prompts.problems] == [f"p{i}" for i in range(6)]
    lengths = rollout.prompts.attention_mask.sum(dim=1).tolist()
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == 6


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_log_probs_and_entropy_are_those_of_a_plain_forward_pass(temperature: float) -> None:
    model = tiny_model(0)
    rollout = write(temperature=temperature)
    for row, problem in enumerate(rollout.prompts.problems):
        prompt = model.render(problem.messages)
        response = rows_of(rollout)[row]
        with torch.no_grad():
            logits = model.module(input_ids=torch.tensor([prompt + response])).logits[0, :, :260] / temperature
        expected = logits.log_softmax(dim=-1)[len(prompt) - 1 : -1]
        chosen = expected.gather(1, torch.tensor(response)[:, None])[:, 0]
        assert torch.allclose(rollout.behaviour_log_prob[row, : len(response)], chosen, atol=1e-4)
        entropy = -(expected.exp() * expected).sum(dim=-1)
        assert torch.allclose(rollout.entropy[row, : len(response)], entropy, atol=1e-4)


def test_greedy_equals_transformers_generate() -> None:
    model = tiny_model(0)
    rollout = write(sampler=best, limit=16)
    for row, problem in enumerate(rollout.prompts.problems):
        prompt = torch.tensor([model.render(problem.messages)])
        answer = model.module.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=16, do_sample=False,
            suppress_tokens=[260, 261, 262, 263],
        )  # fmt: skip
        assert rows_of(rollout)[row] == answer[0, prompt.shape[1] :].tolist()


def test_padded_rows_of_the_vocabulary_are_never_sampled() -> None:
    assert int(write(count=16, limit=64).tokens.max()) < 260


def test_rows_end_at_the_stop_token_or_the_limit() -> None:
    rollout = write(count=32, limit=64)
    for row, reason in zip(rows_of(rollout), rollout.stop_reason, strict=True):
        assert (reason == "stop") == (row[-1] == 257)
        assert 257 not in row[:-1]
        assert reason == "stop" or len(row) == 64
    assert set(rollout.stop_reason) == {"stop", "length"}
    assert bool((rollout.tokens[~rollout.sampled_mask] == 256).all())


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"rollout\.max_new_tokens=0"):
        HFRollout(max_new_tokens=0)


@pytest.mark.parametrize("sampler", [Ancestral(), TopP(0.9)])
def test_what_is_not_asked_for_is_not_told_and_the_ids_are_the_same(sampler: TopP) -> None:
    model = tiny_model(0)
    problems = rendered(model, tiny_problems(5))
    asks = [Ask(tuple(ids), seed, 6 + seed) for seed, (_, ids) in enumerate(problems)]
    whole, some, bare = (
        HFRollout().open(model).generate(asks, Sampling(0.8, sampler, log_prob, entropy))
        for log_prob, entropy in ((True, True), (True, False), (False, False))
    )
    for one, other, least in zip(whole, some, bare, strict=True):
        assert one.ids == other.ids == least.ids
        assert one.log_prob is not None
        assert other.log_prob is not None
        assert torch.equal(one.log_prob, other.log_prob)
        assert one.entropy is not None
        assert len(one.entropy) == len(one.ids)
        assert (other.entropy, least.log_prob, least.entropy) == (None, None, None)
    rows = [(Turn(ask.prompt_ids, answer),) for ask, answer in zip(asks, some, strict=True)]
    rollout = pack(model, rows, [problem for problem, _ in problems])
    assert rollout.scored
    assert rollout.entropy is None


def test_a_response_ends_at_a_stop_string() -> None:
    model = tiny_model(0)
    asks = [Ask(tuple(ids), seed, 24) for seed, (_, ids) in enumerate(rendered(model, tiny_problems(6)))]
    engine = HFRollout(24, 256, 64).open(model)
    whole = engine.generate(asks, Sampling(1.0, Ancestral()))
    texts = [model.decode(one.ids) for one in whole]
    string = max(texts, key=len)[3:5]
    cut = engine.generate(asks, Sampling(1.0, Ancestral(), stop=("never said", string)))
    assert any(string in text for text in texts)
    for before, after, text in zip(whole, cut, texts, strict=True):
        assert after.ids == before.ids[: len(after.ids)]
        if string not in text:
            assert (after.ids, after.stop_reason) == (before.ids, before.stop_reason)
        else:
            assert string in model.decode(after.ids)
            assert string not in model.decode(after.ids[:-1])
