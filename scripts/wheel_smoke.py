"""Build the wheel, install it into a clean environment, and use it from a folder outside the checkout.

The environment contains exactly the wheel's declared dependencies. They are not reinstalled: their files are linked
from the environment that runs this script.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LARGEST_MIB = 16
PACKED = ("opdkit/conf/train.yaml", "opdkit/models/embedded/teacher/model.safetensors", "opdkit/py.typed")
LEFT = ("config.yaml", "env.json", "metrics.jsonl", "final/model.safetensors", "evals/chain_sum.json")


def run(*command: str, cwd: Path, environment: dict[str, str]) -> str:
    """Run a command and return its output; on failure, exit with its output."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def requirements(wheel: Path) -> list[str]:
    """The wheel's declared requirements; extras keep their markers."""
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        for wanted in PACKED:
            if wanted not in names:
                sys.exit(f"the wheel lacks {wanted}")
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(packed.read(about).decode()).get_all("Requires-Dist", [])


def closure(texts: Iterable[str]) -> set[str]:
    """The transitive dependencies of the requirements, without unrequested extras."""
    found: dict[str, set[str]] = {}
    waiting = [(text, frozenset[str]()) for text in texts]
    while waiting:
        text, extras = waiting.pop()
        asked = Requirement(text)
        if asked.marker and not any(asked.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
            continue
        name = canonicalize_name(asked.name)
        if name in found and asked.extras <= found[name]:
            continue
        found[name] = found.get(name, set()) | asked.extras
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            sys.exit(f"{text} is needed and not installed in {sys.prefix}")
        waiting += [(need, frozenset(found[name])) for need in needs]
    return set(found)


def link(names: Iterable[str], clean: Path) -> None:
    """Links the packages' files into the environment `clean`, without their scripts."""
    place = Path(sysconfig.get_path("purelib", "posix_prefix", {"base": str(clean), "platbase": str(clean)}))
    for name in names:
        for file in distribution(name).files or []:
            if ".." in file.parts or (place / file).exists():
                continue
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).symlink_to(Path(str(file.locate())).absolute())


def use(opdkit: str, folder: Path, environment: dict[str, str]) -> None:
    """The commands of a first session, in folders outside the checkout. Two of them run concurrently."""
    looking, training = folder / "looking", folder / "training"
    looking.mkdir()
    training.mkdir()
    with ThreadPoolExecutor(1) as beside:
        checked = beside.submit(run, opdkit, "check", cwd=looking, environment=environment)
        for command in (("--version",), ("ls", "objective"), ("train", "--cfg", "job")):
            run(opdkit, *command, cwd=looking, environment=environment)
        run(opdkit, "train", "debug=smoke", "run_dir=smoke", cwd=training, environment=environment)
        checked.result()
    if any(looking.iterdir()):
        sys.exit(f"read-only commands have created {[p.name for p in looking.iterdir()]}")
    for wanted in LEFT:
        if not (training / "smoke" / wanted).is_file():
            sys.exit(f"the smoke run did not create {wanted}")


def main() -> None:
    """Raises SystemExit with a message if the wheel is not self-contained."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = (sys.executable, "-m", "build", "--wheel", "--outdir", temporary, str(ROOT))
        run(*build, cwd=folder, environment=environment)
        (wheel,) = folder.glob("opdkit-*.whl")
        size = wheel.stat().st_size / 2**20
        if size > LARGEST_MIB:
            sys.exit(f"the wheel has {size:.1f} MiB, more than {LARGEST_MIB}")
        clean = folder / "clean"
        venv.create(clean, with_pip=True)
        link(closure(requirements(wheel)), clean)
        pip = (str(clean / "bin" / "python"), "-m", "pip")
        run(*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=folder, environment=environment)
        run(*pip, "check", cwd=folder, environment=environment)
        use(str(clean / "bin" / "opdkit"), folder, environment)
        print(f"wheel of {size:.1f} MiB: installed, composed, trained")


if __name__ == "__main__":
    main()
