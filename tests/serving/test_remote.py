"""teacher=remote against real servers: the scores of the teacher in process, whatever the servers go through."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.errors import RunError, UserError
from opdkit.generation import HFRollout
from opdkit.models import Request
from opdkit.samplers import Ancestral
from opdkit.teachers import OpenLocalTeacher, OpenTeacher, RemoteTeacher, TeacherContext
from tests.serving.running import free_port, running
from tests.tiny import rendered, tiny_model, tiny_problems, tiny_tokenizer, written

TEMPERATURE, BATCH = 0.7, MicroBatch(3)
STUDENT, TEACHER = tiny_model(0), tiny_model(1)
CONTEXT = TeacherContext("cpu", STUDENT, TEMPERATURE, BATCH)


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    problems = rendered(STUDENT, tiny_problems(8))
    return written(HFRollout(12, 64), STUDENT, problems, Ancestral(), TEMPERATURE, range(8))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(TEACHER) as address:
        yield address


def remote(*servers: str, context: TeacherContext = CONTEXT, **changes: Any) -> OpenTeacher:
    settings = {"backoff": 0.02, "patience": 60.0, "timeout": 60.0, "token_variable": "OPDKIT_TEST_TOKEN"}
    return RemoteTeacher(servers=list(servers), **(settings | changes)).open(context)


def local() -> OpenTeacher:
    return OpenLocalTeacher(TEACHER, TEMPERATURE, BATCH)


def given(rollout: Rollout, k: int) -> tuple[Tensor, Tensor]:
    ids = torch.arange(k).expand(*rollout.tokens.shape, k) * 7 % 256
    return ids, torch.rand(ids.shape, generator=torch.Generator().manual_seed(0)) < 0.7


def assert_equal(ours: Scores, theirs: Scores) -> None:
    for name in Scores.tensors():
        one, other = getattr(ours, name), getattr(theirs, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype, name
            assert torch.equal(one, other), name
    assert ours.temperature == theirs.temperature


@pytest.mark.parametrize(
    "fields",
    [
        {"sampled": True},
        {"top_k": 8},
        {"top_k": 8, "include_sampled": True},
        {"normaliser": True, "sampled": True},
        {"stats_k": 5},
        {"given": 6},
        {"given": 6, "top_k": 4},
        {"given": 40, "top_k": 40, "combine": "intersection"},
        {"vocabulary": True, "normaliser": True},
    ],
    ids=str,
)
def test_scores_are_those_of_the_teacher_in_process_to_the_last_bit(
    fields: dict[str, Any], rollout: Rollout, url: str
) -> None:
    fields = dict(fields)
    if k := fields.pop("given", 0):
        ids, mask = given(rollout, k)
        fields |= {"support_ids": ids, "support_mask": mask if "top_k" in fields else None}
    request = Request(**fields)
    mask = rollout.sampled_mask.clone()
    mask[1] = False  # a row without a token that counts
    teacher = remote(url)
    ours, theirs = teacher.score(rollout, mask, request), local().score(rollout, mask, request)
    assert_equal(ours, theirs)
    if request.vocabulary:
        assert ours.head is not None
        assert theirs.head is not None
        assert torch.equal(ours.head.weight, theirs.head.weight)
        assert (ours.head.vocabulary, ours.head.scale) == (theirs.head.vocabulary, theirs.head.scale)
        assert teacher.bytes() == TEACHER.module.lm_head.weight.numel() * 4
    fewer = 200
    asked = replace(request, support_ids=None, support_mask=None, sampled=False, include_sampled=False, stats_k=0)
    quiet = replace(rollout, tokens=rollout.tokens % fewer)
    assert_equal(
        teacher.restricted(fewer).score(quiet, mask, asked), local().restricted(fewer).score(quiet, mask, asked)
    )
    teacher.close()


def test_what_the_server_says_of_its_model_is_what_it_is(url: str) -> None:
    teacher = remote(url)
    assert (teacher.name, teacher.vocabulary, teacher.stop_ids) == ("tiny-1", 260, frozenset({257}))
    assert teacher.tokenizer.get_vocab() == TEACHER.tokenizer.get_vocab()
    assert teacher.tokenizer.chat_template == TEACHER.tokenizer.chat_template
    teacher.check(STUDENT)
    assert teacher.writer(HFRollout()) is None
    assert teacher.metrics() == {}
    teacher.restore(teacher.state())
    with pytest.raises(UserError, match=r"another model than the one that was served when the run was saved \(0\)"):
        teacher.restore({"fingerprint": "0"})
    teacher.close()


def failing(share: float, seed: int = 0) -> Any:
    """An application of which `share` of the requests fail: refused, broken off, or cut."""
    drawn, lock = random.Random(seed), threading.Lock()

    def wrap(app: Any) -> Any:
        async def wrapped(scope: Any, receive: Any, send: Any) -> None:
            with lock:
                fails = scope.get("path") == "/score" and drawn.random() < share
                how = drawn.randrange(3)
            if not fails:
                return await app(scope, receive, send)
            if how == 0:
                raise ConnectionError("as if the machine had gone")
            headers = [(b"retry-after", b"0")] if how == 1 else [(b"content-length", b"9")]
            await send({"type": "http.response.start", "status": 503 if how == 1 else 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if how == 1 else b"\x01" + b"\0" * 8})
            return None

        return wrapped

    return wrap


def test_scores_are_the_same_after_a_third_of_the_requests_failed(
    rollout: Rollout, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL", "uvicorn.error")
    expected = local().score(rollout, rollout.sampled_mask, Request(top_k=8))
    with running(TEACHER, failing(0.3, 1)) as first, running(TEACHER, failing(0.3, 2)) as second:
        teacher = remote(first, second)
        for _ in range(20):
            assert_equal(teacher.score(rollout, rollout.sampled_mask, Request(top_k=8)), expected)
        failures = teacher._pool.failures  # type: ignore[attr-defined]
        teacher.close()
    assert failures > 8


def test_two_hundred_requests_at_once_are_answered_where_sixteen_may_wait(rollout: Rollout, url: str) -> None:
    expected = local().score(rollout, rollout.sampled_mask, Request(top_k=8))
    with running(TEACHER, queue=16) as address:
        teacher = remote(address, concurrency=200, patience=60.0)
        with ThreadPoolExecutor(67) as pool:  # three requests each
            found = list(pool.map(lambda _: teacher.score(rollout, rollout.sampled_mask, Request(top_k=8)), range(67)))
        failures = teacher._pool.failures  # type: ignore[attr-defined]
        teacher.close()
    assert failures > 0
    for scores in found:
        assert_equal(scores, expected)


def test_a_server_that_restarts_is_waited_for(rollout: Rollout) -> None:
    expected = local().score(rollout, rollout.sampled_mask, Request(top_k=8))
    port = free_port()
    with running(TEACHER, port=port) as address:
        teacher = remote(address)
        assert_equal(teacher.score(rollout, rollout.sampled_mask, Request(top_k=8)), expected)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(teacher.score, rollout, rollout.sampled_mask, Request(top_k=8))
        time.sleep(0.2)
        assert not waiting.done()
        with running(TEACHER, port=port):
            assert_equal(waiting.result(20), expected)
    with running(tiny_model(5), port=port), pytest.raises(RunError, match=r"serves another model now, tiny-5"):
        teacher.score(rollout, rollout.sampled_mask, Request(top_k=8))
    teacher.close()


def test_a_server_that_stays_away_ends_the_run_in_one_line(rollout: Rollout) -> None:
    with running(TEACHER) as address:
        teacher = remote(address, patience=0.3)
    with pytest.raises(RunError, match=r"teacher\.servers: no answer for 0\.3 s .*resume when"):
        teacher.score(rollout, rollout.sampled_mask, Request(top_k=8))
    teacher.close()


def test_a_dead_server_is_left_out_and_told(rollout: Rollout, url: str, caplog: pytest.LogCaptureFixture) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    teacher = remote(nobody, url)
    assert f"teacher: {nobody} is left out for now" in caplog.text
    expected = local().score(rollout, rollout.sampled_mask, Request(top_k=8))
    assert_equal(teacher.score(rollout, rollout.sampled_mask, Request(top_k=8)), expected)
    teacher.close()


@pytest.mark.parametrize(("packed", "join_tokens"), [(False, 4096), (True, 0), (True, 120)])
def test_rows_that_share_a_pass_have_the_same_scores_up_to_rounding(
    rollout: Rollout, packed: bool, join_tokens: int
) -> None:
    """Other requests' rows beside them, or one behind another; some rows have no token that counts."""
    mask = rollout.sampled_mask & (torch.arange(len(rollout.tokens)) % 3 > 0)[:, None]
    expected = local().score(rollout, mask, Request(sampled=True, top_k=4))
    with running(replace(TEACHER, packed=packed), join_tokens=join_tokens) as address:
        teacher = remote(address, concurrency=8)
        ours = teacher.score(rollout, mask, Request(sampled=True, top_k=4))
        teacher.close()
    torch.testing.assert_close(ours.sampled_log_prob, expected.sampled_log_prob, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.support_logits, expected.support_logits, atol=1e-5, rtol=1e-5)


@pytest.fixture
def another() -> Iterator[str]:
    with running(tiny_model(2)) as address:
        yield address


def test_refusals_are_one_line(url: str, another: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    rows: list[tuple[str, tuple[str, ...], dict[str, Any]]] = [
        (rf"no server answers at {nobody} .*start one, as in `opdkit serve teacher=", (nobody,), {}),
        (r"serves tiny-1 \([0-9a-f]{16}\), and http.* another model, tiny-2", (url, another), {}),
        (r"teacher\.model=mine: http.* serves another model, tiny-1", (url,), {"model": "mine"}),
        (r"servers: 'here' is no address", ("here",), {}),
        (r"an address holds a name, a password", ("http://me:secret@host:1",), {}),
        (r"servers=\[\] names no server", (), {}),
        (r"concurrency=0 must be at least 1", (url,), {"concurrency": 0}),
        (r"patience=-1 must be above 0", (url,), {"patience": -1}),
    ]
    for line, servers, changes in rows:
        with pytest.raises(UserError, match=line):
            remote(*servers, **changes)
    remote(url, model="tiny-1").close()


def test_a_token_is_asked_for(monkeypatch: pytest.MonkeyPatch, rollout: Rollout) -> None:
    monkeypatch.setenv("OPDKIT_TEST_TOKEN", "open-sesame")
    with running(TEACHER) as address:
        teacher = remote(address)
        teacher.score(rollout, rollout.sampled_mask, Request(sampled=True))
        teacher.close()
        monkeypatch.setenv("OPDKIT_TEST_TOKEN", "guessed")
        with pytest.raises(UserError, match=r"refuses the token of OPDKIT_TEST_TOKEN \(HTTP 401\)") as told:
            remote(address)
        assert "guessed" not in str(told.value)
        monkeypatch.delenv("OPDKIT_TEST_TOKEN")
        with pytest.raises(UserError, match="requests without a token: export it as OPDKIT_TEST_TOKEN"):
            remote(address)


def test_another_vocabulary_is_named() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": []})
    core = tiny_tokenizer([("a", "b"), ("c", "d")])
    vocabulary = core.get_vocab()
    assert len(vocabulary) == 262
    odd = tiny_model(3, tokenizer=core)
    ours = tiny_model(0, tokenizer=tiny_tokenizer([("x", "y"), ("c", "d")]))
    with running(odd) as address:
        teacher = remote(address)
        with pytest.raises(UserError, match=r"disagree on 1 tokens .*id 260 is 'xy' there and 'ab' here"):
            teacher.check(ours)
        teacher.close()
