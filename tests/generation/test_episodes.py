"""Chats of several turns as tokens: what was sampled is what is trained, and what does not fit is left out."""

from __future__ import annotations

import pytest
import torch

from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Rollout
from opdkit.errors import UserError
from opdkit.generation import Ask, Chat, EpisodeRollout, Sampling, Turn, pack
from opdkit.models import LanguageModel, Request, Scorer
from opdkit.samplers import Ancestral
from tests.tiny import tiny_model, tiny_tokenizer

# Pairs of letters that have an id of their own: a random model often writes the two letters apart.
MERGES = [(a, b) for a in "abcdefgh" for b in "abcdefgh"]
OPENING = (Message("user", "You are in a room."),)


def letters(logits: torch.Tensor) -> torch.Tensor:
    """Only eight letters, their pairs, and sometimes the stop token may be drawn."""
    allowed = torch.zeros_like(logits, dtype=torch.bool)
    allowed[:, 257] = True
    allowed[:, 260:] = True
    allowed[:, [tiny_tokenizer().convert_tokens_to_ids(letter) for letter in "abcdefgh"]] = True
    return allowed


def written(form: str, turns: int = 4, limit: int = 400, count: int = 3) -> tuple[LanguageModel, list[Chat], Rollout]:
    """`count` chats of `turns` answers, played side by side, and their rows."""
    model = tiny_model(0, tokenizer=tiny_tokenizer(MERGES), vocab_size=324)
    settings = EpisodeRollout(max_new_tokens=12, max_prompt_tokens=limit, batch_size=2, form=form)  # pyright: ignore
    chats = [Chat(model, OPENING, settings.max_prompt_tokens) for _ in range(count)]
    for turn in range(turns):
        prompts = [chat.prompt() for chat in chats]
        assert all(prompt is not None for prompt in prompts)
        seeds = [100 * turn + index for index in range(count)]
        asks = [Ask(ids or (), seed, settings.max_new_tokens) for ids, seed in zip(prompts, seeds, strict=True)]
        answers = settings.open(model).generate(asks, Sampling(1.0, letters))
        for index, (chat, ask, answer) in enumerate(zip(chats, asks, answers, strict=True)):
            chat.answer(Turn(ask.prompt_ids, answer))
            chat.reply(Message("user", f"Turn {turn}: nothing{' at all' * index} happens."))
    rows = [row for chat in chats for row in settings.rows(chat.turns)]
    problems = [Problem(str(index), OPENING, "") for index in range(len(rows))]
    return model, chats, pack(model, rows, problems)


@pytest.mark.parametrize("form", ["turns", "episode"])
def test_the_sampled_tokens_are_trained_where_tokenising_their_text_again_gives_others(form: str) -> None:
    model, chats, rollout = written(form)
    sampled = [turn.completion.ids for chat in chats for turn in chat.turns]
    again = [model.tokenizer.encode(model.decode(tokens), add_special_tokens=False) for tokens in sampled]
    differing = sum(list(tokens[: len(ids)]) != ids for tokens, ids in zip(sampled, again, strict=True))
    assert differing > len(sampled) / 2
    trained = [t for row, mask in zip(rollout.tokens, rollout.sampled_mask, strict=True) for t in row[mask].tolist()]
    assert trained == [token for tokens in sampled for token in tokens]
    for chat in chats:  # and a later turn reads the very same ids
        for before, after in zip(chat.turns, chat.turns[1:], strict=False):
            assert (
                after.prompt_ids[: len(before.prompt_ids) + len(before.completion.ids)]
                == before.prompt_ids + before.completion.ids
            )


@pytest.mark.parametrize(("form", "limit"), [("turns", 400), ("episode", 400), ("turns", 130), ("episode", 130)])
def test_a_row_scores_what_the_student_said_as_it_was_said(form: str, limit: int) -> None:
    model, _, rollout = written(form, limit=limit)
    with torch.no_grad():
        scores = Scorer(model)(rollout, rollout.sampled_mask, Request(sampled=True), 1.0)
    assert scores.sampled_log_prob is not None
    assert torch.allclose(scores.sampled_log_prob, rollout.behaviour_log_prob, atol=1e-4)
    assert int(rollout.sampled_mask.sum()) > 30


def test_turns_are_rows_of_their_own_and_an_episode_is_one() -> None:
    model, chats, apart = written("turns")
    _, _, joined = written("episode")
    assert len(apart.tokens) == 12
    assert len(joined.tokens) == 3
    assert apart.environment_mask is None
    assert joined.environment_mask is not None
    assert not bool((joined.environment_mask & joined.sampled_mask).any())
    assert int(joined.sampled_mask.sum()) == int(apart.sampled_mask.sum())
    for chat, tokens, real, mask in zip(chats, joined.tokens, joined.attention_mask, joined.sampled_mask, strict=True):
        last = chat.turns[-1]
        assert (*chat.turns[0].prompt_ids, *tokens[real].tolist()) == last.prompt_ids + last.completion.ids
        assert int(mask.sum()) == sum(len(turn.completion.ids) for turn in chat.turns)
        said = model.tokenizer.decode(tokens[real & ~mask])
        assert "Turn 0: nothing" in said
        assert "Turn 2: nothing" in said
        assert "Turn 3" not in said


def test_what_an_answer_says_does_not_depend_on_its_neighbours() -> None:
    _, many, _ = written("turns", count=3)
    _, one, _ = written("turns", count=1)
    assert [turn.completion.ids for turn in many[0].turns] == [turn.completion.ids for turn in one[0].turns]


def test_a_chat_that_is_too_long_loses_its_oldest_turns_and_begins_a_new_row() -> None:
    model, chats, _ = written("episode", limit=130, turns=5)
    whole = written("episode", limit=400, turns=5)[1]
    settings = EpisodeRollout(12, 130, 2, "episode")
    assert all(chat.left_out == 0 for chat in whole)
    for chat in chats:
        assert chat.left_out > 0
        assert all(len(turn.prompt_ids) <= 130 for turn in chat.turns)
        said = [model.tokenizer.decode(turn.prompt_ids) for turn in chat.turns]
        assert all(text.startswith("<user>You are in a room.") for text in said)
        assert "Turn 0" not in said[-1]
        assert "Turn 3" in said[-1]
        rows = settings.rows(chat.turns)
        assert 1 < len(rows) < len(chat.turns) + 1
        assert [turn for row in rows for turn in row] == chat.turns


def test_a_chat_whose_newest_turn_does_not_fit_has_no_prompt() -> None:
    model = tiny_model(0)
    assert Chat(model, OPENING, 10).prompt() is None
    settings = EpisodeRollout(4, 60, 2)
    chat = Chat(model, OPENING, settings.max_prompt_tokens)
    ask = Ask(chat.prompt() or (), 1, settings.max_new_tokens)
    (answer,) = settings.open(model).generate([ask], Sampling(1.0, Ancestral()))
    chat.answer(Turn(ask.prompt_ids, answer))
    chat.reply(Message("user", "x" * 60))
    assert chat.prompt() is None


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(UserError, match=r"rollout\.form='rows' must be one of turns, episode"):
        EpisodeRollout(form="rows")  # pyright: ignore[reportArgumentType]
