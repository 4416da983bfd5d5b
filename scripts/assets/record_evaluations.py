"""Records the embedded pair's answers to the default benchmark, which runs reuse instead of generating them.

    python scripts/assets/record_evaluations.py

Rerun when the embedded pair or the benchmark changes; tests/evaluation/test_recorded.py detects this.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import opdkit
from opdkit.evaluation.recorded import FILES, MODELS, RECORDED


def main() -> None:
    """Writes opdkit/evaluation/recorded/."""
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            found = opdkit.evaluate([f"model.path={model}", "batch_size=64", f"run_dir={folder}/run"])
            print(model, found.summary["pass@1"])
            (RECORDED / model).mkdir(parents=True, exist_ok=True)
            for name in FILES:
                shutil.copy(Path(folder) / "run" / "evals" / name, RECORDED / model / name)


if __name__ == "__main__":
    main()
