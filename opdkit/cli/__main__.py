"""`python -m opdkit.cli` is `opdkit`."""

import sys

from opdkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
