"""rlx: functional reinforcement learning in JAX.

Parts are imported when they are first used, so that `import rlx` costs nothing:

- functions: `rlx.losses`, `rlx.regularizers`, `rlx.returns`, `rlx.rewards`, `rlx.weighting`, `rlx.controllers`,
  `rlx.transforms`, `rlx.diagnostics`, `rlx.reduce`, `rlx.tabular`, `rlx.curriculum`;
- `rlx.policies`, `rlx.data`, `rlx.algorithms`, `rlx.envs`: networks, datasets, learners, environments;
- `rlx.training`, `rlx.recipes`: compiled runs, and algorithms wired up;
- `rlx.make_train`: a whole run as a pure function; `rlx.load`: a trained policy out of a run folder.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

_FUNCTIONS = {"make_train": "rlx.recipes", "load": "rlx.recipes"}
_PARTS = (
    *("algorithms", "catalog", "controllers", "curriculum", "data", "diagnostics", "envs", "losses", "policies"),
    *("recipes", "reduce", "regularizers", "returns", "rewards", "tabular", "training", "transforms", "types"),
    "weighting",
)


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"rlx.{name}")
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name == "__version__":
        return importlib.metadata.version("rlx")
    raise AttributeError(f"module 'rlx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "__version__", *_FUNCTIONS, *_PARTS])
