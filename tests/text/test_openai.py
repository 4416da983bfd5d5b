from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from opdkit.data.problem import Message
from opdkit.errors import RunError, UserError
from opdkit.text import Chat, OpenAIModel
from tests.text.server import Said, completion, serve

KEY = "sk-a-secret-of-the-test"
SCHEMA = {"title": "answer", "type": "object", "properties": {}, "required": [], "additionalProperties": False}


def chat(text: str, seed: int = 0, **fields: Any) -> Chat:
    return Chat((Message("user", text),), seed, **fields)


def spec(url: str, **changes: Any) -> OpenAIModel:
    settings: dict[str, Any] = {"model": "judge", "base_url": url, "key_variable": None, "backoff": 0.001}
    return OpenAIModel(**(settings | changes))


def echo(body: dict[str, Any], number: int) -> Said:
    return completion("re: " + body["messages"][-1]["content"])


def test_answers_come_in_order_and_the_request_says_what_was_asked(tmp_path: Path) -> None:
    with serve(echo) as server:
        model = spec(server.url, max_new_tokens=7, extra_body={"chat_template_kwargs": {"x": 1}}).open(None)
        asked = [chat("a", seed=2**40 + 3, schema=SCHEMA, temperature=0.7), chat("b"), chat("c")]
        assert model.complete(asked) == ["re: a", "re: b", "re: c"]
        model.close()
    first = next(r for r in server.requests if r["messages"][0]["content"] == "a")
    assert first == {
        "model": "judge",
        "messages": [{"role": "user", "content": "a"}],
        "seed": (2**40 + 3) % 2**31,
        "temperature": 0.7,
        "max_completion_tokens": 7,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}},
        "chat_template_kwargs": {"x": 1},
    }
    usage = model.usage()
    assert (usage["calls"], usage["prompt_tokens"], usage["completion_tokens"], usage["failed"]) == (3, 30, 15, 0)


def test_fields_that_an_endpoint_refuses_are_left_out() -> None:
    with serve(echo) as server:
        model = spec(server.url, omit=["seed", "response_format", "temperature"]).open(None)
        model.complete([chat("a", schema=SCHEMA)])
        model.close()
    assert set(server.requests[0]) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize(
    "trouble",
    [
        Said(b"{}", 429, {"Retry-After": "0"}),
        Said(b'{"error": {"message": "oops"}}', 500),
        Said(b"<html>bad gateway</html>", 502, {"Content-Type": "text/html"}),
        Said(b'{"choices": [{"message": {"content": "half'),
        Said(b"plain words", headers={"Content-Type": "text/plain"}),
        Said(b'{"choices": []}'),
        Said(b'{"choices": null}'),
        Said(b'{"choices": [{"message": {"content": 7}}]}'),
        Said(b"[" * 100_000),
        Said(b"{}", seconds=0.6),
    ],
    ids=["429", "500", "502", "half JSON", "words", "no choice", "null", "number", "nested", "time-out"],
)
def test_what_may_pass_is_tried_again(trouble: Said) -> None:
    def answer(body: dict[str, Any], number: int) -> Said:
        return trouble if number < 2 else completion("yes")

    with serve(answer) as server:
        model = spec(server.url, timeout=0.3, attempts=3).open(None)
        assert model.complete([chat("a")]) == ["yes"]
        assert model.usage()["requests"] == len(server.requests) == 3
        model.close()


def test_after_all_attempts_an_answer_is_missing_and_asked_for_again_later(tmp_path: Path) -> None:
    trouble = [Said(b"{}", 503)] * 2

    def answer(body: dict[str, Any], number: int) -> Said:
        return trouble.pop() if trouble else completion("yes")

    with serve(answer) as server:
        model = spec(server.url, attempts=2).open(tmp_path / "text.jsonl")
        assert model.complete([chat("a")]) == [None]
        assert model.usage()["failed"] == 1
        assert model.complete([chat("a")]) == ["yes"]
        model.close()
    rows = [json.loads(line) for line in (tmp_path / "text.jsonl").read_text().splitlines()]
    assert [(row["answer"], row["error"], row["attempts"]) for row in rows] == [(None, "HTTP 503", 2), ("yes", None, 1)]


def test_a_request_that_is_refused_for_good_is_not_repeated(tmp_path: Path) -> None:
    with serve(lambda body, number: Said(b'{"error": {"message": "prompt too long"}}', 400)) as server:
        model = spec(server.url).open(tmp_path / "text.jsonl")
        assert model.complete([chat("a")]) == [None]
        assert model.complete([chat("a")]) == [None]
        assert len(server.requests) == 1
        model.close()


def test_an_empty_answer_and_one_that_is_too_long_are_missing() -> None:
    said = {"none": completion(None), "empty": completion(""), "long": Said(b" " * (9 * 2**20))}
    with serve(lambda body, number: said[body["messages"][0]["content"]]) as server:
        model = spec(server.url).open(None)
        assert model.complete([chat(name) for name in said]) == [None, None, None]
        assert len(server.requests) == 3
        model.close()


def test_many_failures_in_a_row_end_the_run() -> None:
    with serve(lambda body, number: Said(b"{}", 500)) as server:
        model = spec(server.url, attempts=1, concurrency=1).open(None)
        with pytest.raises(RunError, match="16 answers in a row failed"):
            model.complete([chat(str(i)) for i in range(40)])
        assert len(server.requests) == 16
        model.close()


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, b'{"error": {"message": "bad key sk-a-secret"}}', UserError, "refuses the key in OPDKIT_TEST_KEY"),
        (403, b"{}", UserError, "HTTP 403"),
        (404, b"{}", UserError, "text.model=judge"),
        (429, b'{"error": {"code": "insufficient_quota", "message": "pay"}}', RunError, "quota"),
    ],
)
def test_what_a_person_must_mend_ends_the_run_at_once(
    status: int, body: bytes, error: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPDKIT_TEST_KEY", KEY)
    with serve(lambda _, number: Said(body, status)) as server:
        model = spec(server.url, key_variable="OPDKIT_TEST_KEY").open(None)
        with pytest.raises(error, match=words) as caught:
            model.complete([chat("a")])
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(server.requests) == 1
        model.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_where_no_server_answers_the_command_to_start_one_is_told() -> None:
    model = spec(f"http://127.0.0.1:{free_port()}/v1", attempts=2).open(None)
    with pytest.raises(UserError, match=r"no server answers there .*vllm serve judge"):
        model.complete([chat("a")])
    model.close()


def test_a_server_that_goes_away_ends_the_run_and_what_it_said_is_kept(tmp_path: Path) -> None:
    record = tmp_path / "text.jsonl"
    with serve(echo) as server:
        model = spec(server.url, attempts=2).open(record)
        model.complete([chat("a")])
    with pytest.raises(RunError, match="the server is gone"):
        model.complete([chat("b")])
    model.close()
    again = spec("http://127.0.0.1:9/v1").open(record)
    assert again.complete([chat("a")]) == ["re: a"]
    again.close()


def test_requests_run_side_by_side_up_to_the_limit() -> None:
    with serve(lambda body, number: Said(completion("x").body, seconds=0.05)) as server:
        model = spec(server.url, concurrency=3).open(None)
        model.complete([chat(str(i)) for i in range(9)])
        model.close()
    assert server.most_at_once == 3


def test_a_budget_of_calls_stops_the_run_and_goes_on_with_a_larger_one(tmp_path: Path) -> None:
    record, asked = tmp_path / "text.jsonl", [chat(str(i)) for i in range(6)]
    with serve(echo) as server:
        model = spec(server.url, budget_calls=4).open(record)
        with pytest.raises(RunError, match="budget_calls=4 is spent"):
            model.complete(asked)
        model.close()
        assert len(server.requests) == 4
        same = spec(server.url, budget_calls=4).open(record)
        with pytest.raises(RunError, match="budget_calls=4"):
            same.complete(asked)
        same.close()
        larger = spec(server.url, budget_calls=6).open(record)
        assert larger.complete(asked) == [f"re: {i}" for i in range(6)]
        assert larger.usage()["cached"] == 4
        larger.close()
    assert sorted(server.questions()) == [str(i) for i in range(6)]


def test_a_budget_of_tokens_counts_what_a_run_before_has_used(tmp_path: Path) -> None:
    record = tmp_path / "text.jsonl"
    with serve(echo) as server:
        for index in range(2):
            model = spec(server.url, budget_tokens=30, concurrency=1).open(record)
            model.complete([chat(str(index))])
            model.close()
        model = spec(server.url, budget_tokens=30, concurrency=1).open(record)
        with pytest.raises(RunError, match=r"budget_tokens=30 is spent \(30 used\)"):
            model.complete([chat("more")])
        model.close()
    assert len(server.requests) == 2


def test_the_key_is_sent_and_is_in_no_file_and_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPDKIT_TEST_KEY", f" {KEY}\n")
    record = tmp_path / "text.jsonl"
    said = {"a": completion(f"your key is {KEY}"), "b": Said(json.dumps({"error": KEY}).encode(), 400)}
    with serve(lambda body, number: said[body["messages"][0]["content"]]) as server:
        model = spec(server.url, key_variable="OPDKIT_TEST_KEY").open(record)
        assert model.complete([chat("a"), chat("b")]) == ["your key is ***", None]
        model.close()
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in record.read_text()


@pytest.mark.parametrize("value", [None, "  ", "kl\u00fcg"])
def test_without_a_key_one_line_says_so(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPDKIT_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OPDKIT_TEST_KEY", value)
    with pytest.raises(UserError, match=r"text\.key_variable=OPDKIT_TEST_KEY") as caught:
        spec("http://localhost:1/v1", key_variable="OPDKIT_TEST_KEY").open(None)
    assert "kl\u00fcg" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_url": "localhost:8000"}, "is no address"),
        ({"base_url": "ftp://x/v1"}, "is no address"),
        ({"base_url": "http://x:99999/v1"}, "is no address"),
        ({"base_url": "http://me:word@x/v1"}, "key belongs"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"budget_calls": 0}, "budget_calls=0"),
        ({"timeout": float("nan")}, "timeout=nan"),
        ({"omit": ["tools"]}, "omit='tools'"),
        ({"extra_body": {"model": "x"}}, r"extra_body\.model"),
    ],
)
def test_bad_settings(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        OpenAIModel(model="judge", **changes)
    assert "word@" not in str(caught.value)


ASKING = """
import sys
from pathlib import Path
from opdkit.data.problem import Message
from opdkit.text import Chat, OpenAIModel
url, record = sys.argv[1:]
model = OpenAIModel(model="judge", base_url=url, key_variable=None, concurrency=2).open(Path(record))
print(model.complete([Chat((Message("user", str(i)),), 0) for i in range(12)]))
model.close()
"""


def test_after_kill_9_nothing_is_asked_twice_that_was_written_down(tmp_path: Path) -> None:
    record = tmp_path / "text.jsonl"
    command = [sys.executable, "-c", ASKING]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with serve(lambda body, number: Said(echo(body, number).body, seconds=0.2 if number else 0)) as server:
        process = subprocess.Popen([*command, server.url, str(record)], env=environment)
        while len(server.requests) < 7:
            time.sleep(0.01)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        known = [json.loads(line)["messages"][0]["content"] for line in record.read_bytes().split(b"\n")[:-1]]
        before = len(server.requests)
        assert 2 <= len(known) < 12
        with record.open("ab") as half:
            half.write(b'{"key": "0123", "answer": "hal')
        told = subprocess.run([*command, server.url, str(record)], env=environment, capture_output=True, check=True)
        assert json.loads(told.stdout.decode().replace("'", '"')) == [f"re: {i}" for i in range(12)]
        assert sorted(server.questions()[before:], key=int) == [str(i) for i in range(12) if str(i) not in known]
    assert len(record.read_text().splitlines()) == 12
