"""The page in headless Chromium, where one is installed: it draws, answers, fits a phone and asks for nothing."""

from __future__ import annotations

import html
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opdkit.reports.document import collect
from opdkit.reports.html import page
from tests.reports.folders import SAMPLED, TOPK, config, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

PHONE = 390
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
# Runs in the page after its own script, and leaves what it saw in the title.
PROBE = """
addEventListener("load", () => {
  const chart = document.querySelector("svg.chart"), box = chart.getBoundingClientRect();
  chart.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + 20}));
  const tip = document.getElementById("tip"), button = document.querySelector(".legend button");
  const told = tip.hidden ? "" : tip.textContent;
  button.click();
  const seen = {
    told, pressed: button.getAttribute("aria-pressed"), hidden: document.querySelectorAll(".hidden-line").length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, back: getComputedStyle(document.body).backgroundColor,
    width: innerWidth, excess: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  };
  const words = Object.entries(seen).map(([key, value]) => `${key}=${value}`).join(";");
  document.title = words;
  parent.postMessage(words, "*");
});
"""
FRAME = """<!doctype html><title>none</title><iframe id="frame" width="{width}" height="800"></iframe>
<script>addEventListener("message", (event) => {{ document.title = event.data; }});
document.getElementById("frame").src = "probed.html";</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html as it is written, probed.html with the probe in it, phone.html with that in a narrow frame."""
    root = tmp_path_factory.mktemp("browser")
    sample = {
        "step": 3, "problem": "p", "prompt": "x" * 300, "response": "ab", "reference": "1", "extracted": "1",
        "reward": 1.0, "stop_reason": "stop", "tokens": 2, "token_texts": ["y" * 200, "<b>"],
        "log_ratio": [3.0, -0.2], "counted": [True, False],
    }  # fmt: skip
    for name, objective, right in (("topk", TOPK, 8), ("sampled", SAMPLED, 5)):
        for seed in range(3):
            correct = [n < right + seed for n in range(12)]
            write_run(root / "runs" / f"{name}-{seed}", config(seed, objective), correct, samples=[sample])
    text = page(collect([str(root / "runs")]))
    (root / "report.html").write_text(text, encoding="utf-8")
    probed = POLICY.sub("", text).replace("</body>", f"<script>{PROBE}</script></body>")
    (root / "probed.html").write_text(probed, encoding="utf-8")
    (root / "phone.html").write_text(FRAME.format(width=PHONE), encoding="utf-8")
    return root


def browse(folder: Path, name: str, *options: str) -> str:
    """What Chromium says of a page."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-default-apps", "--virtual-time-budget=5000",
        f"--user-data-dir={folder / 'profile'}", *options, (folder / name).as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def seen(folder: Path, name: str, *options: str) -> dict[str, str]:
    """What the probe saw."""
    found = re.search(r"<title>(.*?)</title>", browse(folder, name, "--dump-dom", *options))
    assert found is not None
    return dict(part.split("=", 1) for part in html.unescape(found.group(1)).split(";"))


def test_charts_answer_a_pointer_and_the_legend_hides_lines(folder: Path) -> None:
    found = seen(folder, "probed.html", "--window-size=1280,900")
    assert "SampledToken" in found["told"]
    assert found["pressed"] == "false"
    assert int(found["hidden"]) > 0
    assert (found["width"], found["excess"]) == ("1280", "0")


def test_light_and_dark(folder: Path) -> None:
    light, dark = seen(folder, "probed.html"), seen(folder, "probed.html", "--force-dark-mode")
    assert (light["dark"], dark["dark"]) == ("false", "true")
    brightness = [sum(map(int, re.findall(r"\d+", one["back"])[:3])) for one in (light, dark)]
    assert brightness[0] > 600 > 200 > brightness[1]


def test_a_phone_scrolls_in_one_direction(folder: Path) -> None:
    found = seen(folder, "phone.html")
    assert (found["width"], found["excess"]) == (str(PHONE), "0")


def test_it_prints(folder: Path) -> None:
    browse(folder, "report.html", f"--print-to-pdf={folder / 'report.pdf'}")
    printed = (folder / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(printed) > 20_000


@contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    """(port, hosts that were asked for): a proxy that answers nothing."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    asked.append(connection.recv(4096).decode("latin-1").partition("\r\n")[0])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], asked
        finally:
            stop.set()
            thread.join()


def test_nothing_is_asked_of_a_network(folder: Path) -> None:
    asking = '<!doctype html><img src="http://planted.test/x.png">'
    (folder / "asking.html").write_text(asking, encoding="utf-8")
    hosts: list[list[str]] = []
    for name in ("asking.html", "report.html", "probed.html"):
        with proxy() as (port, asked):
            browse(folder, name, "--dump-dom", f"--proxy-server=http://127.0.0.1:{port}")
        # The browser opens connections that it does not use, and calls home.
        hosts.append([line for line in asked if line and "google" not in line])
    assert any("planted.test" in line for line in hosts[0])
    assert hosts[1:] == [[], []]


def test_the_pages_own_policy_lets_its_script_run_and_no_other(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    planted = text.replace("</body>", "<script>document.title = 'planted'</script></body>")
    (folder / "planted.html").write_text(planted, encoding="utf-8")
    assert "<title>planted</title>" not in browse(folder, "planted.html", "--dump-dom")
