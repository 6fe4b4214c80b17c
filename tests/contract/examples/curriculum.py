"""Examples of the curriculum."""

from tests.contract.example import GIVES_NO_FLOATS, SHAPE, Example, integers, key, normal, real

EXAMPLES: dict[str, Example] = {
    "rlx.curriculum.guided_mode": Example(
        {"key": key, "step": integers(*SHAPE, low=1, high=6)},
        {"threshold": 0.7},
        variants=({}, {"rule": "switch"}),
        skips=GIVES_NO_FLOATS,
    ),
    "rlx.curriculum.relative_difficulty": Example({"reward": real, "buffer_mean": normal(SHAPE[0])}),
}
