"""`python -m opdkit.cli`: the same as `opdkit`."""

import sys

from opdkit.cli.main import main

sys.exit(main())
