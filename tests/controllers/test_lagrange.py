import jax
import jax.numpy as jnp
import numpy as np

from rlx.controllers import lagrange_multiplier


def test_the_multiplier_rises_iff_the_constraint_is_violated() -> None:
    controller = lagrange_multiplier(step=0.5, upper=2.0)
    state = controller.init(0.3)
    for violation, expected in ((1.0, 0.8), (-0.2, 0.7), (0.0, 0.7), (-5.0, 0.0), (9.0, 2.0), (jnp.nan, 2.0)):
        multiplier, state = controller.update(state, violation)
        np.testing.assert_allclose(multiplier, expected, rtol=1e-6)
        assert state.multiplier == multiplier


def test_an_equality_constraint_has_a_multiplier_of_either_sign() -> None:
    controller = lagrange_multiplier(step=1.0, lower=-jnp.inf)
    multiplier, _ = controller.update(controller.init(jnp.zeros(2)), jnp.array([-1.0, 2.0]))
    np.testing.assert_allclose(multiplier, [-1, 2])


def test_no_gradient_enters_from_the_violation() -> None:
    controller = lagrange_multiplier(step=0.5)
    assert jax.grad(lambda g: controller.update(controller.init(1.0), g)[0])(0.3) == 0


def test_dual_ascent_finds_the_multiplier_of_a_quadratic_program() -> None:
    """min x² subject to x ≥ 1 has the solution x = 1 with multiplier 2."""
    controller = lagrange_multiplier(step=0.3)

    def ascend(state, _):
        return controller.update(state, 1 - state.multiplier / 2)[1], None

    state, _ = jax.lax.scan(ascend, controller.init(0.0), None, 100)
    np.testing.assert_allclose(state.multiplier, 2, rtol=1e-5)
