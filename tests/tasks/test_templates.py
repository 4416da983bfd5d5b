from __future__ import annotations

import pytest

from opdkit.errors import UserError
from opdkit.tasks.templates import check_template, render


def test_fields_are_filled_and_other_braces_stay() -> None:
    (message,) = render("{question} Put it in \\boxed{}, as {1} or {{x}}.", {"question": "Q {answer}?", "x": 3})
    assert message.content == "Q {answer}? Put it in \\boxed{}, as {1} or {3}."
    assert message.role == "user"


def test_system_comes_first() -> None:
    roles = [message.role for message in render("{question}", {"question": "Q"}, "Be brief.")]
    assert roles == ["system", "user"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("Say something.", "no field"),
        ("{question} {boxed}", r"asks for \{boxed\}"),
        ("{qestion}", r"did you mean \{question\}"),
    ],
)
def test_a_template_without_its_field_is_refused(template: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_template(template, ["question", "hint"])
