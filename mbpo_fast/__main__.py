"""`python -m mbpo_fast` is `mbpo-fast`."""

import sys

from mbpo_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
