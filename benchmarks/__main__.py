"""`python -m benchmarks`: speed and memory compared with other projects, measured on this machine."""

from __future__ import annotations

import sys

from benchmarks.command import main
from opdkit.errors import UserError

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        sys.exit(2)
