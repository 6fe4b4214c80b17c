import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.preference import SEMANTICS, dpo, semantic_preference_loss

CHOSEN, REJECTED = jnp.array([-0.5, -2.0]), jnp.array([-1.0, -0.25])
ORACLES = {
    "cross_entropy": [0.5, 2.0],
    "cross_entropy_unlikelihood": [0.958675, 3.508692],
    "cpo": [0.474077, 1.910224],
    "orpo": [0.3203, 3.156773],
    "unlikelihood": [0.458675, 1.508692],
    "implication": [0.156361, 1.119024],
}


def of(table):
    return dict(zip(("win", "lose"), table, strict=True))


def test_oracles() -> None:
    tables = lambda c, r: [semantic_preference_loss(c, r, **of(SEMANTICS[name])) for name in ORACLES]
    np.testing.assert_allclose(jax.jit(tables)(CHOSEN, REJECTED), list(ORACLES.values()), atol=2e-6)


def test_tables_equal_counted_worlds_and_finite_differences(float64, rng, check_gradient) -> None:
    chosen, rejected = jnp.asarray(rng.uniform(-4, -0.01, (2, 10)))
    p, q = np.exp(chosen), np.exp(rejected)
    weights = np.stack([p * q, p * (1 - q), (1 - p) * q, (1 - p) * (1 - q)])
    subsets = [x for x in itertools.product((False, True), repeat=4) if any(x)]
    tables = [(subsets[i], subsets[j]) for i, j in rng.integers(0, len(subsets), (4, 2))]
    losses = jax.jit(lambda c, r: jnp.stack([semantic_preference_loss(c, r, beta=0.7, **of(x)) for x in tables]))
    for loss, (win, lose) in zip(losses(chosen, rejected), tables, strict=True):
        odds = weights[list(win)].sum(0) / weights[list(lose)].sum(0)
        np.testing.assert_allclose(loss, np.log1p(odds**-0.7), rtol=1e-10)
    check_gradient(losses, chosen, rejected)


def test_laws_of_the_tables(float64, rng) -> None:
    chosen, rejected = jnp.asarray(rng.uniform(-4, -0.01, (2, 10)))
    loss = jax.jit(semantic_preference_loss, static_argnames=("win", "lose"))
    at = lambda name: loss(chosen, rejected, **of(SEMANTICS[name]))
    # Fewer worlds that win, or more that lose, make a larger loss.
    assert (at("orpo") >= at("implication")).all() and (at("cross_entropy_unlikelihood") >= at("orpo")).all()
    win, lose = SEMANTICS["orpo"]
    swapped = loss(chosen, rejected, win=lose, lose=win)
    np.testing.assert_allclose(swapped - at("orpo"), -np.log(np.expm1(at("orpo"))), rtol=1e-9)


def test_cpo_with_the_references_as_literals_is_dpo(float64, rng) -> None:
    chosen, rejected, reference_chosen, reference_rejected = jnp.asarray(rng.uniform(-9, -0.1, (4, 10)))
    literals = chosen + reference_rejected, rejected + reference_chosen
    loss = jax.jit(lambda c, r: semantic_preference_loss(c, r, beta=0.3, **of(SEMANTICS["cpo"])))(*literals)
    np.testing.assert_allclose(loss, dpo(chosen, rejected, reference_chosen, reference_rejected, beta=0.3), rtol=1e-9)


def test_certain_and_impossible_responses_stay_finite() -> None:
    ends = jnp.array([0.0, 0.0, -200.0, -200.0, -0.69]), jnp.array([0.0, -200.0, 0.0, -200.0, -0.7])
    total = lambda c, r: jnp.stack([semantic_preference_loss(c, r, **of(t)) for t in SEMANTICS.values()])
    slopes = jax.grad(lambda *ends: total(*ends).sum(), (0, 1))
    assert all(np.isfinite(x).all() for x in jax.jit(lambda *ends: (total(*ends), *slopes(*ends)))(*ends))


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ValueError, match="lose must be four booleans"):
        semantic_preference_loss(CHOSEN, REJECTED, win=(True,) * 4, lose=(False,) * 4)
