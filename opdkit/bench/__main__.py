"""`python -m opdkit.bench` is `opdkit bench`."""

import sys

from opdkit.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
