"""``python -m mvit``: the commands, where their script is not on the path."""

import sys

from mvit.cli import main

if __name__ == "__main__":
    sys.exit(main())
