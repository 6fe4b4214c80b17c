"""Examples of the reductions."""

from tests.contract.example import Example, real

EXAMPLES: dict[str, Example] = {
    "rlx.reduce.constant_length": Example({"x": real}, {"length": 8.0}),
    "rlx.reduce.mean": Example({"x": real}, variants=({}, {"axis": 0}, {"axis": (0, 1)})),
    "rlx.reduce.sequence_mean": Example({"x": real}, variants=({}, {"inner": "sum"}, {"empty": "count"}, {"axis": 0})),
    "rlx.reduce.token_mean": Example({"x": real}),
}
