"""`push_to_hub` against a hub on this machine that speaks as much of the protocol as an upload of small files needs."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import merged
from tests.tiny import save_pair

TOKEN = "hf_of-the-test"


class Hub:
    """What the hub was asked. refuses: paths that it answers 403 to, as it does for a token that may not write."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.tokens: set[str | None] = set()
        self.refuses: tuple[str, ...] = ()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/api/repos/create":
            self.made.append(json.loads(body))
            return {"url": "http://127.0.0.1/u/student", "id": "u/student"}
        if "/preupload/" in path:
            return {
                "files": [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
            }
        if "/commit/" in path:
            lines = [json.loads(line) for line in body.splitlines() if line]
            self.files |= {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            return {"commitUrl": "http://127.0.0.1/u/student/commit/abc", "commitOid": "abc", "hookOutput": ""}
        return {"errors": [], "warnings": []}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    told = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told.tokens.add(self.headers.get("Authorization"))
            refused = any(part in self.path for part in told.refuses)
            data = json.dumps({"error": "no"} if refused else told.answer(self.path, body)).encode()
            self.send_response(403 if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield told
        server.shutdown()


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    pair = save_pair(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda *typed: main(["train", *merged(*pair, "steps=1", "run_dir=mine", *typed)])


def test_a_complete_run_is_uploaded_once(hub: Hub, train: Callable[..., int], tmp_path: Path) -> None:
    assert train("push_to_hub=u/student") == 0
    final = tmp_path / "mine" / "final"
    assert hub.files == {str(f.relative_to(final)): f.read_bytes() for f in final.rglob("*") if f.is_file()}
    assert [(made["name"], made["organization"], made["visibility"]) for made in hub.made] == [
        ("student", "u", "private")
    ]
    assert hub.tokens == {f"Bearer {TOKEN}"}
    summary = json.loads((tmp_path / "mine" / "summary.json").read_text())
    assert summary["pushed"] == {"repository": "u/student", "commit": "abc"}
    written = b"".join(f.read_bytes() for f in (tmp_path / "mine").rglob("*") if f.is_file())
    assert TOKEN.encode() not in written
    hub.files = {}
    assert train("push_to_hub=u/student", "resume=true") == 0
    assert hub.files == {}


def test_a_failed_upload_loses_nothing_and_is_made_up_for(
    hub: Hub, train: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.refuses = ("/commit/",)
    assert train("push_to_hub=u/student") == 1
    told = capsys.readouterr()
    assert "student after" in told.out
    assert "push_to_hub=u/student: the upload failed" in told.err
    assert "run_dir=mine resume=true uploads it again" in told.err
    assert told.err.count("\n") == 1
    assert TOKEN not in told.out + told.err
    assert (tmp_path / "mine" / "final" / "model.safetensors").is_file()
    hub.refuses = ()
    assert train("push_to_hub=u/student", "resume=true") == 0
    assert "model.safetensors" in hub.files


def test_what_would_refuse_an_upload_is_told_before_the_run(
    hub: Hub,
    train: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(typed: str) -> str:
        assert train(f"push_to_hub={typed}") == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert not (tmp_path / "mine").exists()
        return error

    assert "must be USER/NAME" in refused("student")
    assert "HFValidationError" in refused("u/-student..")
    hub.refuses = ("/repos/create",)
    assert "the Hub rejects the request or can't be reached" in refused("u/student")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in refused("u/student")
    monkeypatch.delenv("HF_TOKEN")
    assert "environment variable HF_TOKEN" in refused("u/student")
    assert main(["sweep", "push_to_hub=u/student", "seed=0,1"]) == 2
    assert "the jobs of a sweep would overwrite one another" in capsys.readouterr().err
