"""What travels between a run and a scoring server: small, whole, and refused where it is anything else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.models import Request
from opdkit.serving.worker import score_together
from opdkit.teachers.messages import (
    MessageError,
    ScoringRequest,
    pack_request,
    pack_scores,
    read_head,
    read_request,
    read_scores,
)  # fmt: skip
from tests.serving.running import service
from tests.tiny import tiny_model

K, ROWS, TOKENS = 32, 8, 128


def request_of(wanted: Request, vocabulary: int = 50_000, rows: int = ROWS, tokens: int = TOKENS) -> ScoringRequest:
    count = rows * tokens
    row = torch.arange(rows).repeat_interleave(tokens)
    column = torch.arange(tokens).repeat(rows) + 31
    ids = torch.arange(rows * (tokens + 32)).view(rows, -1) % vocabulary
    return ScoringRequest(ids, row, column, torch.arange(count) % vocabulary, wanted, 1.0, vocabulary)


@pytest.mark.parametrize("vocabulary", [200, 150_000])
@pytest.mark.parametrize("source", ["teacher", "student", "union"])
def test_ten_bytes_an_id_and_position_both_ways_together(source: str, vocabulary: int) -> None:
    count = ROWS * TOKENS
    ids = torch.randint(0, vocabulary, (1, count, K))
    own = Request(top_k=K)
    wanted = {"teacher": own, "student": Request(support_ids=ids), "union": Request(top_k=K, support_ids=ids)}[source]
    request = request_of(wanted, vocabulary)
    width = 2 * K if source == "union" else K
    scored = torch.randint(0, vocabulary, (1, count, width))
    mask = torch.rand(scored.shape) < 0.8 if source == "union" else None
    scores = Scores(support_ids=scored, support_mask=mask, support_logits=torch.randn(1, count, width))
    asked, answered = pack_request(request), pack_scores(scores, wanted, vocabulary)
    budget = 10.0 if source != "union" else 10.5  # 2 K logits and ids, and the K ids that were given
    assert (len(asked) + len(answered)) / (count * width) <= budget
    found = read_scores(answered, read_request(asked))
    assert found.support_logits is not None
    assert torch.equal(found.support_logits, scores.support_logits)  # type: ignore[arg-type]
    assert found.support_ids is not None
    assert torch.equal(found.support_ids, ids if source == "student" else scored)
    assert (found.support_mask is None) == (mask is None)
    assert mask is None or torch.equal(found.support_mask, mask)  # type: ignore[arg-type]


@given(st.binary(max_size=200))
def test_other_bytes_are_refused(body: bytes) -> None:
    for read in (read_request, read_head):
        with pytest.raises(MessageError):
            read(body)


def test_requests_that_do_not_hang_together_are_refused() -> None:
    good = request_of(Request(top_k=4), 260, 2, 3)
    good.check(260)
    read_request(pack_request(good)).check(260)
    wrong = {
        "row": torch.tensor([0, 0, 0, 1, 1, 2]),
        "column": torch.full((6,), 35),
        "sampled": torch.full((6,), -1),
        "ids": torch.full((2, 35), 260),
        "temperature": float("nan"),
        "vocabulary": 261,
    }
    for name, value in wrong.items():
        fields = {field: getattr(good, field) for field in ScoringRequest.__dataclass_fields__} | {name: value}
        with pytest.raises(MessageError):
            read_request(pack_request(ScoringRequest(**fields))).check(260)
    for shape in ({"sampled": torch.zeros(5)}, {"ids": torch.zeros(2)}):
        fields = {field: getattr(good, field) for field in ScoringRequest.__dataclass_fields__} | shape
        with pytest.raises(MessageError, match="shapes"):
            read_request(pack_request(ScoringRequest(**fields)))
    with pytest.raises(MessageError, match="whole numbers"):
        read_request(pack_request(request_of(Request(top_k=-1), 260, 2, 3)))


def test_an_answer_of_another_size_is_refused() -> None:
    model = tiny_model(0)
    requests = [request_of(Request(top_k=4), 260, 2, n) for n in (3, 5)]
    answers = score_together(model, requests)
    read_scores(answers[0], requests[0])
    with pytest.raises(MessageError, match="shape"):
        read_scores(answers[0], requests[1])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"host": "0.0.0.0"}, r"host=0\.0\.0\.0: others can reach it, and OPDKIT_TEST_TOKEN holds no token"),
        ({"host": "example.org"}, "others can reach it"),
        ({"port": 70000}, r"port=70000: must be between"),
        ({"queue": 0}, r"queue=0: must be at least 1"),
        ({"join_tokens": -1}, r"join_tokens=-1"),
    ],
)
def test_settings_that_can_not_be_are_one_line(
    changes: dict[str, object], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPDKIT_TEST_TOKEN", raising=False)
    with pytest.raises(UserError, match=line):
        service(**changes)
    if "host" in changes:
        monkeypatch.setenv("OPDKIT_TEST_TOKEN", "open-sesame")
        assert service(**changes).host == changes["host"]
    assert service(host="localhost").host == "localhost"
