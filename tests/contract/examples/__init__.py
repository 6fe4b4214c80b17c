"""The table of the contract test: one module for each slot, named like it, each with its `EXAMPLES`.

A new function is one new entry, under the name that users import it by, in the module of its slot.
"""

import importlib
from pathlib import Path

from tests.contract.example import Example

_FOLDER = Path(__file__).parent


def _slots() -> list[str]:
    """The slots that have a module here, such as "losses.policy"."""
    files = (file.relative_to(_FOLDER).with_suffix("") for file in _FOLDER.rglob("*.py"))
    return sorted(".".join(file.parts) for file in files if file.name != "__init__")


BY_SLOT: dict[str, dict[str, Example]] = {
    slot: importlib.import_module(f"{__name__}.{slot}").EXAMPLES for slot in _slots()
}
EXAMPLES: dict[str, Example] = {name: example for examples in BY_SLOT.values() for name, example in examples.items()}
