"""`python -m rlx.cli`: the command `rlx` without installing it."""

import sys

from rlx.cli import main

sys.exit(main())
