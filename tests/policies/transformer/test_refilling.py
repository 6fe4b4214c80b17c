"""Sampling in rows that are refilled gives the tokens of sampling all sequences at once, in fewer steps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.policies import transformer
from tests.sorting_policy import CONFIG

STOP, TOTAL, TIME = 1, 11, 9


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    where = np.arange(4) >= rng.integers(0, 4, (TOTAL, 1))
    return jnp.asarray(rng.integers(2, 7, (TOTAL, 4))), jnp.asarray(where)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: 2 * x, transformer.init(jax.random.key(0), CONFIG))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_the_tokens_are_those_of_sampling_all_at_once(prompts, params, rows):
    prompt, where = prompts
    options = dict(config=CONFIG, where=where, max_new_tokens=TIME, stop_tokens=(STOP,), temperature=0.8)
    key = jax.random.key(1)
    expected = jax.jit(partial(transformer.generate, **options))(key, params=params, prompt=prompt)
    found = jax.jit(partial(transformer.generate_refilled, rows=rows, **options))(key, params=params, prompt=prompt)
    length = np.asarray(expected.where).sum(-1)
    assert length.min() < 4 and length.max() == TIME
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.where, expected.where)
    np.testing.assert_allclose(found.log_prob, expected.log_prob, atol=1e-5)
    np.testing.assert_allclose(found.behavior_log_prob, expected.behavior_log_prob, atol=1e-5)


def test_seeds_and_policies_are_sampled_side_by_side(prompts, params):
    prompt, where = prompts
    sample = lambda key, scale: transformer.generate_refilled(
        key,
        CONFIG,
        jax.tree.map(lambda x: scale * x, params),
        prompt,
        where=where,
        rows=3,
        max_new_tokens=TIME,
        stop_tokens=(STOP,),
    )
    keys, scales = jax.random.split(jax.random.key(2), 2), jnp.array([1.0, 0.5])
    both = jax.jit(jax.vmap(sample))(keys, scales)
    for i in range(2):
        alone = jax.jit(sample)(keys[i], scales[i])
        np.testing.assert_array_equal(both.tokens[i], alone.tokens)
        np.testing.assert_array_equal(both.where[i], alone.where)


def test_counts_below_one_are_refused(prompts, params):
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        transformer.generate_refilled(jax.random.key(0), CONFIG, params, prompts[0], rows=0, max_new_tokens=2)
