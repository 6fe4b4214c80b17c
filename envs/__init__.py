"""Environments that tell the truth about their transitions.

`make("brax:ant")` returns an `Environment`: a pure `reset` and `step` for one environment, which loops
`vmap`. `from_spec("module:function")` does so for a task of one's own. Importing this package imports
neither JAX nor any simulator; `make` imports the one suite that it needs.
"""

from typing import Any

from rlx.envs.protocol import Environment, RenderingUnavailable, Step
from rlx.envs.registry import (
    UnknownEnvironment,
    UntrustedCode,
    check_trusted,
    from_spec,
    is_spec,
    is_trusted,
    make,
    names,
    suites,
    trust,
)

__all__ = [
    "Environment",
    "RenderingUnavailable",
    "Step",
    "UnknownEnvironment",
    "UntrustedCode",
    "check_trusted",
    "flatten_observations",
    "from_spec",
    "is_spec",
    "is_trusted",
    "make",
    "names",
    "suites",
    "trust",
    "with_history",
    "with_random_phase",
]


def __getattr__(name: str) -> Any:
    # They need JAX, which costs seconds to import.
    if name == "flatten_observations":
        from rlx.envs.observations import flatten_observations

        return flatten_observations
    if name == "with_history":
        from rlx.envs.history import with_history

        return with_history
    if name == "with_random_phase":
        from rlx.envs.episodes import with_random_phase

        return with_random_phase
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
