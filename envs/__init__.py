"""Environments that tell the truth about their transitions.

`make("brax:ant")` returns an `Environment`: a pure `reset` and `step` for one environment, which loops
`vmap`. Importing this package imports neither JAX nor any simulator; `make` imports the one suite that it
needs.
"""

from envs.protocol import Environment, RenderingUnavailable, Step
from envs.registry import UnknownEnvironment, make, names, suites

__all__ = ["Environment", "RenderingUnavailable", "Step", "UnknownEnvironment", "make", "names", "suites"]
