"""The table of the contract test: one module for each family of methods, each with its `EXAMPLES`.

A new function is one new entry, under the name that users import it by.
"""

import importlib
import pkgutil

from tests.contract.example import Example

_FAMILIES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
EXAMPLES: dict[str, Example] = {name: example for family in _FAMILIES for name, example in family.EXAMPLES.items()}
