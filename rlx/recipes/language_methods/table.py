"""What an entry in the table of methods is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """A method of the table.

    Attributes:
        make: from its hyperparameters, keywords with the paper's defaults, to a `Method`.
        slots: what it changes, in words.
        paper: authors, year and arXiv identifier.
    """

    make: Callable[..., Any]
    slots: str
    paper: str

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Name → default."""
        return {name: parameter.default for name, parameter in inspect.signature(self.make).parameters.items()}
