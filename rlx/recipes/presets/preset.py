"""What a preset is."""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """What suits an environment, a task or weights, and where it comes from.

    Attributes:
        source: where the values are from.
        overrides: of fields of a `Config`.
        options: of the command line, such as how many seeds.
    """

    source: str
    overrides: dict[str, Any]
    options: dict[str, Any] = {}
