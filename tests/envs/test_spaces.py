import jax
import numpy as np
import pytest
from gymnasium import spaces

from rlx.envs.adapters.spaces import unbounded

LARGEST = np.iinfo(np.int32)


@pytest.mark.parametrize(
    ("dtype", "space"),
    [
        (np.float32, spaces.Box(-np.inf, np.inf, (2, 3), np.float32)),
        (np.int32, spaces.Box(LARGEST.min, LARGEST.max, (2, 3), np.int32)),
        (np.uint8, spaces.Box(0, 255, (2, 3), np.uint8)),
        (bool, spaces.MultiBinary((2, 3))),
    ],
)
def test_every_type_of_array_has_a_space_that_holds_it(dtype, space):
    found = unbounded(jax.ShapeDtypeStruct((2, 3), dtype))
    assert found == space and found.contains(np.ones((2, 3), dtype))


def test_a_dict_in_a_dict_is_described_part_by_part():
    example = {"state": np.zeros(2, np.float32), "pixels": {"front": np.zeros((4, 4, 3), np.uint8)}}
    found = unbounded(example)
    assert found == spaces.Dict(
        state=spaces.Box(-np.inf, np.inf, (2,), np.float32),
        pixels=spaces.Dict(front=spaces.Box(0, 255, (4, 4, 3), np.uint8)),
    )
    assert found.contains(example)
