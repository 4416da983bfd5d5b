"""A real scoring server in a thread of this process, with faults where a test wants them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from opdkit.models import LanguageModel
from opdkit.serving.server import listening, server_of
from opdkit.serving.settings import Service
from opdkit.teachers import LocalTeacher

Wrap = Callable[[Any], Any]


def service(**changes: Any) -> Service:
    settings = {
        "host": "127.0.0.1", "port": 0, "token_variable": "OPDKIT_TEST_TOKEN", "queue": 256, "join_tokens": 0,
        "packing": False, "largest_mib": 8, "resolved": {},
    }  # fmt: skip
    return Service(LocalTeacher("embedded/teacher"), **(settings | changes))


@contextmanager
def running(model: LanguageModel, wrap: Wrap = lambda app: app, port: int = 0, **changes: Any) -> Iterator[str]:
    """The address of a server of `model`. wrap: put around the application."""
    server = server_of(model, service(**changes))
    server.config.app = wrap(server.config.app)
    with in_thread(server, port) as address:
        yield address


@contextmanager
def in_thread(server: uvicorn.Server, port: int) -> Iterator[str]:
    """The address at which the server answers, in a thread that ends with the context."""
    listener = listening("127.0.0.1", port)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
