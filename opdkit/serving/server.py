"""Loads a model and serves it until a signal."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from opdkit import device
from opdkit.errors import UserError
from opdkit.models import LanguageModel, load, prove_packing
from opdkit.serving.application import Limits, about, application
from opdkit.serving.settings import Service
from opdkit.serving.worker import Worker


def serve(service: Service, tell: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, finishing accepted requests. Raises UserError for a model that can't be loaded
    and an address in use."""
    with listening(service.host, service.port) as listener:
        model = load(service.teacher, device.kind(), key="teacher", offload=service.teacher.cpu_offload)
        model.module.requires_grad_(False)
        if service.packing:
            model = prove_packing(model, "teacher", "packing")
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        tell(f"{model.name} ({about(model).fingerprint}) at {address}")
        tell(f"use it with: opdkit train teacher=remote 'teacher.servers=[{address}]'")
        server_of(model, service).run(sockets=[listener])


def server_of(model: LanguageModel, service: Service) -> uvicorn.Server:
    """The server of a loaded model, started with `run(sockets=[...])`."""
    limits = Limits(service.token(), service.largest_mib << 20, model.positions)
    app = application(model, Worker(model, service.queue, service.join_tokens), limits)
    settings = uvicorn.Config(app, log_level="warning", ws="none", lifespan="on", timeout_graceful_shutdown=30)
    return uvicorn.Server(settings)


def listening(host: str, port: int) -> socket.socket:
    """A bound socket. Raises UserError if binding fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UserError(f"port={port}: {host} can't be listened at ({error.strerror or error})") from None
    return listener
