import jax
import jax.numpy as jnp
import numpy as np

from rlx.losses.imitation import behavior_cloning
from rlx.losses.value import dice_value
from rlx.transforms import orthogonalize
from rlx.weighting import advantage_weight

ORACLE = {
    "value": jnp.array([0.5, 1.0]),
    "next_value": jnp.array([0.7, 0.2]),
    "target_value": jnp.array([0.4, 1.1]),
    "target_next_value": jnp.array([0.6, 0.3]),
    "reward": jnp.array([0.1, -5.0]),
    "discount": jnp.array([0.99, 0.0]),
}


def test_dice_value_oracle() -> None:
    linear, forward, backward = dice_value(**ORACLE)
    np.testing.assert_allclose(linear, [0.2, 0.4], rtol=1e-6)
    np.testing.assert_allclose(forward, [0.122045, -0.6], rtol=1e-5)
    np.testing.assert_allclose(backward, [0.258967, -0.6], rtol=1e-5)


def test_dice_value_equals_numpy_and_finite_differences(rng, float64, check_gradient) -> None:
    v, next_v, v_bar, next_v_bar, reward, discount = rng.normal(size=(6, 40)) * 2
    conjugates = {"pearson": lambda y: y + y * y / 4 if y >= -2 else -1.0, "reverse_kl": lambda y: np.exp(y - 1)}
    arrays = dict(zip(ORACLE, map(jnp.asarray, (v, next_v, v_bar, next_v_bar, reward, discount)), strict=True))
    for name, conjugate in conjugates.items():
        parts = dice_value(**arrays, lambda_=0.3, eta=0.7, divergence=name)
        np.testing.assert_allclose(parts.linear, 0.7 * v)
        forward = [0.3 * conjugate(y) for y in reward + discount * next_v_bar - v]
        backward = [0.3 * 0.7 * conjugate(y) for y in reward + discount * next_v - v_bar]
        np.testing.assert_allclose(parts.forward, forward, rtol=1e-10)
        np.testing.assert_allclose(parts.backward, backward, rtol=1e-10)
        check_gradient(
            lambda v, n: dice_value(**{**arrays, "value": v, "next_value": n}, divergence=name)[1:], v, next_v
        )


def test_each_part_has_the_gradient_of_its_own_state_alone() -> None:
    def slopes(part):
        function = lambda v, n: dice_value(**{**ORACLE, "value": v, "next_value": n})[part].sum()
        return jax.grad(function, argnums=(0, 1))(ORACLE["value"], ORACLE["next_value"])

    assert not slopes(1)[1].any() and not slopes(2)[0].any()
    # The second residual is below −2, and its state has ended.
    assert slopes(1)[0][0] != 0 and slopes(1)[0][1] == 0 and slopes(2)[1][0] != 0 and slopes(2)[1][1] == 0


def test_a_step_of_odice_by_hand(float64) -> None:
    """Gradient of twin tables of values, and the policy's weights, against the formula written out."""
    reward, discount, state, following = np.array([0.5, -0.2, 0.3]), np.array([0.9, 0.9, 0.0]), [0, 1, 2], [1, 2, 0]
    table, slow, share, eta = np.array([[0.1, -0.4, 0.3], [0.2, 0.5, -0.1]]), np.array([0.0, 0.2, -0.3]), 0.6, 0.7
    g_linear, g_forward, g_backward = np.zeros((3, 2, 3))
    weights = np.zeros((2, 3))
    for twin, t in np.ndindex(2, 3):
        s, n = state[t], following[t]
        residual = reward[t] + discount[t] * slow[n] - table[twin, s]
        weights[twin, t] = min(max(residual, 0), 100)
        g_linear[twin, s] += (1 - share) / 6
        g_forward[twin, s] -= share * max(residual / 2 + 1, 0) / 6
        behind = reward[t] + discount[t] * table[twin, n] - slow[s]
        g_backward[twin, n] += share * eta * discount[t] * max(behind / 2 + 1, 0) / 6
    projected = g_backward - (g_forward * g_backward).sum() / (g_forward**2).sum() * g_forward
    expected = g_linear + g_forward + projected

    def part(parameters, index):
        values = (
            jnp.asarray([[p[s] for s in state] for p in parameters]),
            jnp.asarray([[p[n] for n in following] for p in parameters]),
        )
        targets = jnp.asarray(slow)[jnp.asarray(state)], jnp.asarray(slow)[jnp.asarray(following)]
        parts = dice_value(*values, *targets, jnp.asarray(reward), jnp.asarray(discount), lambda_=share, eta=eta)
        return parts[index].mean()

    parameters = [jnp.asarray(row) for row in table]
    linear, forward, backward = (jax.grad(part)(parameters, index) for index in range(3))
    combined = jax.tree.map(jnp.add, linear, orthogonalize(forward, backward))
    np.testing.assert_allclose(combined, expected, rtol=1e-10)

    residual = jnp.asarray(reward + discount * slow[following] - table[:, state])
    log_prob = jnp.array([-1.0, -2.0, -0.5])
    loss = behavior_cloning(log_prob, weight=advantage_weight(residual, kind="relu").mean(0))
    np.testing.assert_allclose(loss, weights.mean(0) * [1.0, 2.0, 0.5])
