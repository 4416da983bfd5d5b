"""Build the wheel, install it into a clean environment, and use it from a folder that knows nothing of the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST_MIB = 16


def run(*command: str, cwd: Path, environment: dict[str, str]) -> str:
    """Run a command and return what it printed; its failure ends the script with what it said."""
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def main() -> None:
    """Raises SystemExit with a message where the wheel does not stand on its own."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = (sys.executable, "-m", "build", "--wheel", "--outdir", temporary, str(ROOT))
        run(*build, cwd=folder, environment=environment)
        (wheel,) = folder.glob("opdkit-*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        for wanted in ("opdkit/conf/train.yaml", "opdkit/models/embedded/teacher/model.safetensors", "opdkit/py.typed"):
            if wanted not in names:
                sys.exit(f"the wheel lacks {wanted}")
        size = wheel.stat().st_size / 2**20
        if size > LARGEST_MIB:
            sys.exit(f"the wheel has {size:.1f} MiB, more than {LARGEST_MIB}")
        clean = folder / "clean"
        venv.create(clean, with_pip=True)
        python = str(clean / "bin" / "python")
        constraints = str(ROOT / os.environ.get("CONSTRAINTS", "constraints.txt"))
        pip = (python, "-m", "pip", "install", "--quiet", "--constraint", constraints)
        run(*pip, "torch", cwd=folder, environment=environment)
        run(*pip, str(wheel), cwd=folder, environment=environment)
        elsewhere = folder / "elsewhere"
        elsewhere.mkdir()
        opdkit = str(clean / "bin" / "opdkit")
        for command in (("--version",), ("ls", "objective"), ("check",), ("train", "--cfg", "job")):
            run(opdkit, *command, cwd=elsewhere, environment=environment)
        if any(elsewhere.iterdir()):
            sys.exit(f"commands that only look have left {[p.name for p in elsewhere.iterdir()]}")
        run(opdkit, "train", "debug=smoke", "run_dir=smoke", cwd=elsewhere, environment=environment)
        for wanted in ("config.yaml", "env.json", "metrics.jsonl", "final/model.safetensors", "evals/chain_sum.json"):
            if not (elsewhere / "smoke" / wanted).is_file():
                sys.exit(f"the smoke run left no {wanted}")
        print(f"wheel of {size:.1f} MiB: installed, composed, trained")


if __name__ == "__main__":
    main()
