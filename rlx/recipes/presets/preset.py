"""What a preset is."""

from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Overrides of a `Config` and where they come from."""

    source: str
    overrides: dict[str, Any]
