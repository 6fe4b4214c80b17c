"""``python -m experiments.cli``: the command ``rlx`` without installing it."""

import sys

from experiments.cli import main

sys.exit(main())
