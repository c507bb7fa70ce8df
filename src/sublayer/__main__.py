"""`python -m sublayer` is the command `sublayer`."""

import sys

from sublayer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
