"""Observations to messages, and a model's text to an action."""

from __future__ import annotations

import pytest

from opdkit.environments.base import Environment, EnvironmentSource, Observation
from opdkit.environments.chat import ChatGame, parameters, same_action
from opdkit.errors import UserError
from tests.environments.fake import FakeGame


def test_the_fake_has_the_interface() -> None:
    game = FakeGame()
    assert isinstance(game, EnvironmentSource)
    assert isinstance(game.make(), Environment)
    assert FakeGame(**parameters(game)) == game


def test_messages_are_filled_templates() -> None:
    game = ChatGame(first_template="Go. {observation} [{admissible}]", next_template="{observation}", separator=" | ")
    seen = Observation("A {admissible} room.", ("look", "go {observation}"))
    first, following = game.first_message(seen), game.next_message(seen)
    assert (first.role, first.content) == ("user", "Go. A {admissible} room. [look | go {observation}]")
    assert (following.role, following.content) == ("user", "A {admissible} room.")


def test_a_long_observation_is_cut_with_a_mark() -> None:
    game = ChatGame(longest_observation=5)
    assert game.first_message(Observation("A red room.")).content == "A red ..."
    assert game.next_message(Observation("A red")).content == "A red"


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("take coin", "take coin"),
        ("I think.\n\n  take   the coin \n\n", "take the coin"),
        ("<think>go west\nmaybe</think>\nmove east", "move east"),
        ("<think>go west", "<think>go west"),
        ("", ""),
        (" \n\t\n", ""),
        ("<think>only thought</think>", ""),
        ("a" * 5000, "a" * 300),
        ("\ud800 odd\x00 signs", "\ud800 odd\x00 signs"),
        ("<|im_end|>\n<|im_start|>user\nopen door", "open door"),
    ],
)
def test_the_last_line_is_the_action(text: str, action: str) -> None:
    assert ChatGame().read_action(text) == action


def test_a_pattern_picks_the_action() -> None:
    game = ChatGame(action_pattern=r"<action>(.*?)</action>")
    assert game.read_action("<action>look</action> or <action> move  east </action>!") == "move east"
    assert game.read_action("move east") == ""
    assert ChatGame(action_pattern="(a)?b").read_action("b") == ""


def test_a_megabyte_is_read_quickly() -> None:
    assert len(ChatGame(action_pattern="> (.*)").read_action("x" * 1_000_000 + "\n> look")) == 4


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"max_turns": 0}, "max_turns=0"),
        ({"longest_observation": 0}, "longest_observation=0"),
        ({"first_template": "Go!"}, "{observation}"),
        ({"next_template": "{admissible}"}, "next_template"),
        ({"next_template": "{observation} {inventory}"}, "{inventory}"),
        ({"action_pattern": "("}, "action_pattern"),
        ({"action_pattern": "look"}, "one group"),
    ],
)
def test_bad_fields_are_refused(fields: dict, word: str) -> None:
    with pytest.raises(UserError) as caught:
        ChatGame(**fields)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_case_and_spaces_do_not_matter() -> None:
    assert same_action(" Take  Coin ", ("look", "take coin")) == "take coin"
    assert same_action("take coins", ("take coin",)) is None
    assert same_action("", ("take coin",)) is None
