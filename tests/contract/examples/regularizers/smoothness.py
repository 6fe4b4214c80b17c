"""Examples of the smoothness regularizers."""

from tests.contract.example import Example, normal

EXAMPLES: dict[str, Example] = {
    "rlx.regularizers.smoothness.ensemble_gradient_diversity": Example(
        {"action_gradient": normal(4, 3, 2)}, {"axis": 1}, mask=(4,)
    ),
}
