import jax
import jax.numpy as jnp
import numpy as np

from rlx.regularizers import representation

contrastive_mutual_information = jax.jit(representation.contrastive_mutual_information, static_argnames="axis")


def test_oracle() -> None:
    positive, negative = jnp.array(1.0), jnp.array([1.0, 0.0, -1.0])
    log_weight = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(contrastive_mutual_information(positive, negative), 0.407606, rtol=1e-5)
    weighted = contrastive_mutual_information(positive, negative, log_weight=log_weight)
    np.testing.assert_allclose(weighted, -0.450309, rtol=1e-5)


def test_equals_numpy_and_finite_differences(rng, check_gradient) -> None:
    positive, negative, log_weight = (
        rng.normal(size=(3, 4)),
        rng.normal(size=(3, 6, 4)),
        np.log(rng.dirichlet(np.ones(4))),
    )
    where = rng.random((3, 4)) < 0.7
    log_weight = np.broadcast_to(log_weight, (6, 4))
    expected = np.where(where, np.log(np.exp(negative + log_weight).sum(1)) - positive, 0)
    options = {"log_weight": jnp.asarray(log_weight), "axis": 1, "where": jnp.asarray(where)}
    loss = lambda positive, negative: contrastive_mutual_information(positive, negative, **options)
    np.testing.assert_allclose(loss(jnp.asarray(positive), jnp.asarray(negative)), expected, rtol=1e-10)
    check_gradient(jax.jit(loss), jnp.asarray(positive), jnp.asarray(negative))


def test_invariances(rng, float64) -> None:
    negative = jnp.asarray(rng.normal(size=(5, 8)))
    log_weight = jnp.log(jnp.asarray(rng.dirichlet(np.ones(8))))
    loss = lambda f, **options: contrastive_mutual_information(f[:, 3], f, **options)
    np.testing.assert_allclose(loss(jnp.full((5, 8), 0.7), log_weight=log_weight), 0, atol=1e-12)
    np.testing.assert_allclose(loss(negative + 40), loss(negative), rtol=1e-10)
    assert (loss(negative) >= 0).all()
    np.testing.assert_allclose(
        jax.grad(lambda f: loss(f, log_weight=log_weight).sum())(negative).sum(-1), 0, atol=1e-12
    )


def test_the_best_energy_measures_the_mutual_information(float64) -> None:
    """With weights p(x) the minimum of the loss over energies is −I(x; z), at f = log p(x|z)/p(x)."""
    joint = jnp.array([[0.3, 0.1], [0.05, 0.25], [0.1, 0.2]])
    marginal, latent = joint.sum(1), joint.sum(0)
    energy = jnp.log(joint / marginal[:, None] / latent)

    def expected_loss(energy):
        every_pair = contrastive_mutual_information(
            energy, jnp.broadcast_to(energy.T, (3, 2, 3)), log_weight=jnp.log(marginal)
        )
        return jnp.sum(joint * every_pair)

    np.testing.assert_allclose(expected_loss(energy), -jnp.sum(joint * energy), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(expected_loss)(energy), 0, atol=1e-12)
    assert expected_loss(energy + jnp.eye(3, 2)) > expected_loss(energy)


def test_a_reward_of_probability_0_is_no_negative() -> None:
    log_weight = jnp.array([0.0, -jnp.inf])
    evaluate = jax.value_and_grad(lambda f: contrastive_mutual_information(f[0], f, log_weight=log_weight))
    value, slope = evaluate(jnp.array([0.4, 3.0]))
    assert value == 0 and np.isfinite(slope).all()
