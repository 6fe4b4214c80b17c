import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.losses.imitation import privileged_distillation


@pytest.fixture
def batch(rng):
    teacher, student = rng.normal(scale=3, size=(2, 3, 4, 5))
    mask = rng.random((3, 4)) < 0.6
    mask[0], mask[1] = True, False
    return teacher, student, *rng.uniform(0, 2, (2, 3)), mask


def test_equals_a_loop_over_tokens(batch, float64) -> None:
    teacher, student, teacher_nll, student_nll, mask = batch
    expected = teacher_nll + 0.3 * student_nll
    for i in range(3):
        divergences = []
        for t in np.flatnonzero(mask[i]):
            p, q = (np.exp(x[i, t]) / np.exp(x[i, t]).sum() for x in (teacher, student))
            divergences.append(np.sum(p * np.log(p / q)))
        expected[i] += 2 * np.mean(divergences) if divergences else 0
    teacher, student = (np.where(mask[..., None], x, np.nan) for x in (teacher, student))
    arrays = [jnp.asarray(x) for x in (teacher, student, teacher_nll, student_nll)]
    np.testing.assert_allclose(privileged_distillation(*arrays, where=jnp.asarray(mask)), expected, rtol=1e-12)


def test_gradients(batch, check_gradient) -> None:
    teacher, student, *nll, mask = map(jnp.asarray, batch)
    loss = lambda student, *nll: privileged_distillation(teacher, student, *nll, where=mask)
    check_gradient(jax.jit(loss), student, *nll)
    slopes = jax.grad(lambda teacher: privileged_distillation(teacher, student, *nll).sum())(teacher)
    assert not np.any(slopes)


def test_finite_at_extreme_logits() -> None:
    teacher, student = (jnp.array([[[0.0, -80.0], [80.0, -80.0]]]) * sign for sign in (1, -1))
    arrays = teacher, student, jnp.ones(1), jnp.ones(1)
    value, slopes = jax.value_and_grad(lambda x: privileged_distillation(teacher, x, *arrays[2:])[0])(student)
    np.testing.assert_allclose(value, 1.3 + 2 * (80 + 160) / 2, rtol=1e-6)
    assert np.isfinite(slopes).all()


def test_a_student_that_agrees_adds_its_likelihood_only(batch) -> None:
    teacher, _, teacher_nll, student_nll, _ = map(jnp.asarray, batch)
    loss = privileged_distillation(teacher, teacher, teacher_nll, student_nll)
    np.testing.assert_allclose(loss, teacher_nll + 0.3 * student_nll, rtol=1e-5)
