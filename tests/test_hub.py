"""The hub where there is none: a dead address is told at once, a slow one and an error's answer are not given up."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from opdkit.errors import UserError
from opdkit.hub import cache_where_unreachable, reachable
from opdkit.models import ModelSpec, load_tokenizer
from opdkit.tasks import Records

CONSTANTS = "huggingface_hub.constants"


class _Refuses(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(503)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from huggingface_hub import close_session

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(f"{CONSTANTS}.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    close_session()
    yield
    close_session()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address at which no one listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(f"{CONSTANTS}.ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}")


def offline() -> tuple[bool, bool]:
    import datasets.config
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE


def test_nobody_is_not_reachable_and_the_cache_alone_is_read(nobody: None) -> None:
    assert not reachable()
    with cache_where_unreachable():
        assert offline() == (True, True)
    assert offline() == (False, False)


def test_an_error_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(f"{CONSTANTS}.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert reachable()
        with cache_where_unreachable():
            assert offline() == (False, False)
        server.shutdown()


def test_a_slow_answer_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CONSTANTS}.HF_HUB_ETAG_TIMEOUT", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setattr(f"{CONSTANTS}.ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert reachable()


def test_in_offline_mode_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CONSTANTS}.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: pytest.fail("the hub was asked"))
    assert not reachable()
    with cache_where_unreachable():
        assert offline()[0]
    assert offline()[0]


def test_a_name_that_cannot_be_had_is_told_in_seconds(nobody: None, capfd: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    with pytest.raises(UserError, match=r"model.path='owner/model' .* could not be had from the Hugging Face hub"):
        load_tokenizer(ModelSpec("owner/model"))
    with pytest.raises(UserError, match=r"path=owner/data \(test\): cannot be loaded from the hub"):
        Records(name="n", path="owner/data").load()
    assert time.monotonic() - started < 20
    assert capfd.readouterr().err == ""
