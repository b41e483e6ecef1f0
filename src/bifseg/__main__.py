"""``python -m bifseg``: the command line."""

import sys

from bifseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
