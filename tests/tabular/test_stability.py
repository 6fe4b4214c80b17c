import jax.numpy as jnp
import numpy as np
import pytest

from rlx.tabular import soft_policy_stability_bound


def soft_policy(reward, transition, temperature, discount):
    q = np.zeros_like(reward)
    for _ in range(400):
        top = q.max(-1, keepdims=True)
        value = top[:, 0] + temperature * np.log(np.exp((q - top) / temperature).sum(-1))
        q = reward + discount * transition @ value
    policy = np.exp((q - q.max(-1, keepdims=True)) / temperature)
    return policy / policy.sum(-1, keepdims=True)


def distance(policy, other):
    return np.abs(policy - other).sum(-1).max() / 2


@pytest.mark.parametrize(
    ("temperature", "tv", "bound"), [(0.01, 0.231059, 0.5), (0.1, 0.024979, 0.05), (0.5, 0.004983, 0.01)]
)
def test_bandit_oracle(temperature, tv, bound) -> None:
    one, other = (np.array([[r, 1.0, 0.0]]) for r in (1.0, 1.01))
    still = np.zeros((1, 3, 1))
    policies = [soft_policy(reward, still, temperature, 0.0) for reward in (one, other)]
    np.testing.assert_allclose(distance(*policies), tv, atol=2e-6)
    result = soft_policy_stability_bound(jnp.array(0.01), temperature=temperature, discount=0.0)
    np.testing.assert_allclose(result, bound, rtol=1e-5)


def test_bounds_random_problems(rng) -> None:
    for temperature, discount in ((0.05, 0.5), (0.3, 0.9), (1.0, 0.0)):
        reward, noise = rng.normal(size=(5, 3)), rng.uniform(-0.1, 0.1, (5, 3))
        transition = rng.dirichlet(np.ones(5), (5, 3))
        policies = [soft_policy(r, transition, temperature, discount) for r in (reward, reward + noise)]
        gap = jnp.asarray(np.abs(noise).max(), jnp.float32)
        bound = soft_policy_stability_bound(gap, temperature=temperature, discount=discount)
        assert 0 < distance(*policies) <= bound
