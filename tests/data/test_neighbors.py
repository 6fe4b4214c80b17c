import jax.numpy as jnp
import numpy as np
import pytest

from rlx.data import nearest_neighbor


def loop(query, keys, k):
    """Sorted by distance, then by row."""
    distance = np.array([[np.sqrt(sum((q - x) ** 2)) for x in keys] for q in query])
    index = np.array([sorted(range(len(keys)), key=lambda j: (row[j], j))[:k] for row in distance])
    return index, np.take_along_axis(distance, index, 1)


def test_oracle_of_the_dataset_constraint() -> None:
    keys = jnp.array([[0.0, 0.0, 0.5], [2.0, 0.0, -0.5], [0.0, 2.0, 0.9]])
    query = jnp.array([[0.2, 0.2, 0.6], [1.8, 0.4, 0.4]])
    index, distance = nearest_neighbor(query, keys, k=2)
    np.testing.assert_array_equal(index, [[0, 2], [1, 0]])
    np.testing.assert_allclose(distance[:, 0], [0.3, 1.004988], rtol=1e-5)


@pytest.mark.parametrize("k, chunk", [(1, None), (4, 50), (37, 10), (3, 1)])
def test_equals_a_loop(rng, float64, k, chunk) -> None:
    query, keys = rng.normal(size=(5, 3)), rng.normal(size=(37, 3))
    index, distance = loop(query, keys, k)
    found = nearest_neighbor(jnp.asarray(query).reshape(5, 1, 3), jnp.asarray(keys), k=k, chunk=chunk)
    np.testing.assert_array_equal(found[0][:, 0], index)
    np.testing.assert_allclose(found[1][:, 0], distance, rtol=1e-12)


def test_equal_rows_come_in_order_whatever_the_chunk(rng) -> None:
    keys = rng.integers(0, 2, (30, 3)).astype(np.float32)
    for chunk in (None, 4, 7):
        index, distance = nearest_neighbor(jnp.asarray(keys[:6]), jnp.asarray(keys), k=5, chunk=chunk)
        expected = loop(keys[:6], keys, 5)
        np.testing.assert_array_equal(index, expected[0])
        np.testing.assert_allclose(distance, expected[1], rtol=1e-6)


def test_rounding_flips_no_near_ties(rng) -> None:
    # Far from the origin ‖q‖² − 2 q·x + ‖x‖² alone has no digit left of these distances.
    query = (1000 + rng.normal(size=(20, 4)) * 1e-2).astype(np.float32)
    keys = (1000 + rng.normal(size=(500, 4)) * 1e-2).astype(np.float32)
    index, distance = nearest_neighbor(jnp.asarray(query), jnp.asarray(keys), k=3, chunk=64)
    expected = loop(query.astype(float), keys.astype(float), 3)
    np.testing.assert_array_equal(index, expected[0])
    np.testing.assert_allclose(distance, expected[1], rtol=1e-5)


def test_a_row_or_query_without_value_spoils_no_other(rng) -> None:
    query, keys = rng.normal(size=(4, 2)).astype(np.float32), rng.normal(size=(12, 2)).astype(np.float32)
    index, distance = nearest_neighbor(jnp.asarray(query), jnp.asarray(keys))
    query[3], broken = np.nan, np.insert(keys, [0, 12], [[np.nan, 0], [np.inf, 1]], 0)
    spoiled = nearest_neighbor(jnp.asarray(query), jnp.asarray(broken), chunk=5)
    np.testing.assert_array_equal(spoiled[0][:3], index[:3] + 1)
    np.testing.assert_allclose(spoiled[1][:3], distance[:3], rtol=1e-6)
    assert not np.isfinite(spoiled[1][3]).any()


def test_types_and_errors(unannotated) -> None:
    query, keys = jnp.zeros((4, 2), jnp.bfloat16), jnp.zeros((5, 2), jnp.bfloat16)
    index, distance = nearest_neighbor(query, keys)
    assert jnp.issubdtype(index.dtype, jnp.integer) and distance.dtype == jnp.bfloat16
    with unannotated:
        for options, match in (({"k": 6}, "k must be between 1 and"), ({"chunk": 0}, "chunk must be at least 1")):
            with pytest.raises(ValueError, match=match):
                nearest_neighbor(query, keys, **options)
        with pytest.raises(ValueError, match=r"keys must be \[row, feature\]"):
            nearest_neighbor(query, keys[:, :1])
        with pytest.raises(ValueError, match="keys.*int32"):
            nearest_neighbor(query, keys.astype(jnp.int32))
