"""Policy optimization of language models, method by method: each paper as the slots of an update that it changes.

`make_method("dapo", clip_high=0.3)` is a `rlx.algorithms.grpo.Method`; `rlx methods` prints the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rlx.recipes.language_methods import baselines, credit, demonstration, entropy, ratio, table
from rlx.recipes.language_methods.table import Entry

if TYPE_CHECKING:
    from rlx.algorithms.grpo import Method

__all__ = ["METHODS", "Entry", "make_method"]

METHODS: dict[str, Entry] = {
    **baselines.METHODS,
    **ratio.METHODS,
    **entropy.METHODS,
    **credit.METHODS,
    **demonstration.METHODS,
}
"""Every method by its name on the command line."""


def make_method(name: str, **options: Any) -> Method:
    """A method of the table, with some of its hyperparameters changed.

    Raises:
        ValueError: there is no such method, it has no such hyperparameter, or one has an impossible value.
    """
    return table.make(METHODS, name, options)
