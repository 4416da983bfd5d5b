"""Write tests/fixtures/numbers, the reference for later code, from short runs of the code in a folder.

    python scripts/record_numbers.py --code ../base            # every case
    python scripts/record_numbers.py --code ../base topk games # some of them

`--as-written` is for code older than the changes listed in MOVED and RENAMED in tests/number_cases.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import number_cases as recorded

ROOT = Path(__file__).resolve().parents[1]


def write(file: Path, content: dict[str, Any]) -> None:
    """JSON with exact floats, one row of metrics or one tensor per line."""
    parts = [f" {json.dumps(key)}: {_block(value)}" for key, value in content.items()]
    file.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _block(value: Any) -> str:
    if isinstance(value, list):
        return "[\n" + ",\n".join(f"  {json.dumps(item)}" for item in value) + "\n ]"
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(item)}" for key, item in value.items()) + "\n }"
    return json.dumps(value)


def main() -> None:
    """Runs the cases in sequence and writes a file for each, and one about the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--code", type=Path, default=ROOT, help="the checkout to run (default: this one)")
    parser.add_argument("--to", type=Path, default=recorded.FIXTURES, help="the folder to write")
    parser.add_argument("--as-written", action="store_true", help="apply neither MOVED nor RENAMED")
    parser.add_argument("names", nargs="*", metavar="CASE", help="cases to record (default: all)")
    asked = parser.parse_args()
    known = [case.name for case in recorded.CASES]
    if unknown := sorted(set(asked.names) - set(known)):
        sys.exit(f"no case named {', '.join(unknown)}; there are {', '.join(known)}")
    machine = recorded.machine()
    there = asked.to / recorded.MACHINE.name
    if asked.names and there.is_file() and json.loads(there.read_text(encoding="utf-8")) != machine:
        sys.exit(f"{there} is from another machine: record every case here, or none")
    asked.to.mkdir(parents=True, exist_ok=True)
    moved = {} if asked.as_written else recorded.MOVED
    renamed = {} if asked.as_written else recorded.RENAMED
    for case in recorded.CASES:
        if asked.names and case.name not in asked.names:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as temporary:
            folder = recorded.run(case, asked.code.resolve(), Path(temporary), moved)
            write(asked.to / f"{case.name}.json", recorded.numbers(folder, renamed))
        print(f"{case.name:<20}{time.monotonic() - began:5.1f} s", flush=True)
    write(there, machine)


if __name__ == "__main__":
    main()
