"""Responses that share rows are scored as if each had one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.algorithms import grpo, packing, scoring
from rlx.policies import transformer
from rlx.training import responses
from tests.sorting_policy import CONFIG, TASK


@pytest.fixture(scope="module")
def params():
    return transformer.init(jax.random.key(0), CONFIG)


@pytest.fixture(scope="module")
def batch():
    """Prompts and responses of different lengths, one of them with a gap, and a reply after it, between two turns."""
    found = responses.solutions(TASK, responses.draw(jax.random.key(1), TASK, "train", 6))
    pair = jax.tree.map(lambda x: jnp.repeat(x, 2, axis=1), found)
    # There is more room than any of them takes.
    room = {name: jnp.pad(getattr(pair, name), [(0, 0), (0, 0), (0, 4)]) for name in ("token", "present", "where")}
    pair = pair._replace(**room, step=jnp.zeros(room["token"].shape, int))
    present = pair.present.at[:, 1, 2:].set(False).at[0, 0, 1].set(False)
    reward = jnp.array([[1.0, 0.0]] * 6)
    heat = jnp.broadcast_to(jnp.array([1.0, 2.0]), reward.shape)
    return pair._replace(
        present=present, where=(pair.where & present).at[0, 0, 2].set(False), reward=reward, temperature=heat
    )


def test_no_two_tokens_share_a_slot(batch):
    where = np.concatenate([batch.prompt_where, batch.present], axis=-1)
    for rows in (12, 8, 2):
        found = packing.places(batch, rows)
        row, slot = np.broadcast_to(np.asarray(found.row)[..., None], where.shape), np.asarray(found.slot)
        assert len(set(zip(row[where], slot[where]))) == where.sum()
        assert bool(found.fit) == (slot[where].max() < where.shape[-1])
        token = jnp.arange(where.size).reshape(where.shape)
        if found.fit:
            again = packing.take(found, packing.put(found, token, rows=rows, blank=-1))
            np.testing.assert_array_equal(np.asarray(again)[where], np.asarray(token)[where])
        # Tokens of a sequence lie one after the other.
        for i, j in np.ndindex(where.shape[:2]):
            own = slot[i, j][where[i, j]]
            np.testing.assert_array_equal(own, own[0] + np.arange(len(own)))
    assert not found.fit


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.75, 0.1])
def test_packing_changes_no_score_and_no_gradient(params, batch, share):
    """Where all fit, and where they do not and have a row each after all."""
    assert bool(packing.places(batch, int(np.ceil(share * 12))).fit) == (share > 0.5)

    def total(params, share):
        found = scoring.score(CONFIG, params, batch, temperature=batch.temperature, packed_share=share)
        return jnp.sum(jnp.sin(found.log_prob)) + jnp.sum(jnp.square(found.entropy)), found

    of = jax.jit(jax.value_and_grad(total, has_aux=True), static_argnums=1)
    ((plain, scores), gradient), ((packed, again), same) = of(params, 0.0), of(params, share)
    np.testing.assert_allclose(packed, plain, rtol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-5), again, scores)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-4, rtol=1e-4), same, gradient)


@pytest.mark.slow
def test_blocks_of_queries_stay_within_their_sequences(params, monkeypatch):
    """Longer rows attend block by block."""
    token = jax.random.randint(jax.random.key(3), (1, 11), 0, 7)
    segment = jnp.array([[0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2]])
    positions = jnp.array([[0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3]])
    run = partial(transformer.hidden, CONFIG, params)
    alone = [run(token[:, segment[0] == i])[0] for i in range(3)]
    for queries in (256, 4):
        monkeypatch.setattr("rlx.policies.transformer.model.QUERIES", queries)
        packed, _ = run(token, positions=positions, segment=segment)
        np.testing.assert_allclose(packed, jnp.concatenate(alone, axis=1), atol=1e-5)


def test_what_is_not_packed_is_refused(params, batch):
    with pytest.raises(ValueError, match="packed_share must be 0 where logits are kept"):
        scoring.score(CONFIG, params, batch, distribution=True, packed_share=0.5)
    with pytest.raises(ValueError, match="packed_share must be 0 for a method that uses distributions, .* got 0.5"):
        grpo.learner(CONFIG, optax.sgd(0.1), grpo.Method(uses=frozenset({"distribution"})), packed_share=0.5)


@pytest.mark.slow
def test_an_update_is_the_same_from_packed_rows(params, batch):
    """With a reference beside the policy, and a critic that scores a row for each response as before."""

    def loss(batch):
        drift = jnp.square(batch.log_prob - batch.reference_log_prob) + jnp.square(batch.value - 1.0)
        return grpo.token_loss(batch) + jnp.mean(jnp.where(batch.where, drift + batch.entropy, 0.0))

    method = grpo.Method(uses=frozenset({"reference", "value"}), loss=loss)

    def after(share):
        make = partial(grpo.learner, CONFIG, optax.sgd(0.1), method, params=lambda key: params, minibatches=2)
        learner = make(packed_share=share)
        return jax.jit(learner.update)(learner.init(jax.random.key(0), batch), batch, jax.random.key(3))

    (plain, metrics), (packed, same) = after(0.0), after(0.75)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), packed.params, plain.params)
    for name in metrics:
        np.testing.assert_allclose(same[name], metrics[name], rtol=1e-4, atol=1e-5, err_msg=name)
