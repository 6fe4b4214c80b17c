import math

import jax
import jax.numpy as jnp
import numpy as np

from rlx.controllers import entropy_temperature, two_phase_decay


def test_temperature_oracle() -> None:
    temperature = entropy_temperature(jnp.array([0.12, 0.5, 0.50001, 1.7]), target=0.5)
    np.testing.assert_allclose(temperature, [1.2, 1.2, 0.8, 0.8])


def test_temperature_holds_the_entropy_of_imitated_samples() -> None:
    def update(logits, _):
        entropy = -jnp.sum(jax.nn.softmax(logits) * jax.nn.log_softmax(logits))
        tempered = jax.nn.softmax(logits / entropy_temperature(entropy, target=0.6))
        return logits + 0.2 * (tempered - jax.nn.softmax(logits)), entropy

    for start in ([4.0, 1.0, 0.0], [0.1, 0.0, 0.0]):
        _, entropies = jax.lax.scan(update, jnp.array(start), length=800)
        assert abs(entropies[0] - 0.6) > 0.3
        np.testing.assert_allclose(entropies[-50:], 0.6, atol=0.02)


def test_decay_oracle() -> None:
    weight = two_phase_decay(jnp.array([0, 30, 75, 76, 150]), total_steps=150)
    np.testing.assert_allclose(weight, [1, 0.889866, 0.827067, 0.768632, 0.039830], atol=1e-6)
    assert weight.dtype == jnp.float32


def test_decay_equals_python_for_odd_and_tiny_lengths() -> None:
    for total in (1, 2, 7):
        half = total // 2
        for step in (-1, 0, 0.5, 1, 3, 4, 7, 100):
            e = min(max(step, 0), total)
            if e <= half:
                expected = 1 - 0.3 * (1 - math.exp(-1.5 * e / half)) if half else 1.0
            else:
                expected = 0.7 * math.exp(-4 * (e - half) / (total - half))
            found = two_phase_decay(step, total_steps=total, middle=0.7, slow=1.5, fast=4.0)
            np.testing.assert_allclose(found, expected, rtol=1e-6)
