"""The slots compose: every surrogate with every advantage, regularizer and aggregation, in one objective.

One program for each surrogate computes the objective of all combinations and its gradient. Both must be finite and
equal the sum written out in NumPy from the parts, each computed alone.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx import reduce, returns, weighting
from rlx.losses import policy
from rlx.regularizers import behavior, divergence, entropy

pytestmark = pytest.mark.long(minutes=0.8)

PROMPTS, GROUP, TIME, VOCABULARY = 2, 4, 5, 6
COEFFICIENT = 0.3


class Data:
    """A batch of token sequences from a policy that has moved away from the one that sampled."""

    rng = np.random.default_rng(0)
    shape = (PROMPTS, GROUP, TIME)
    token = jnp.asarray(rng.integers(VOCABULARY, size=shape))
    behavior_logits = jnp.asarray(rng.normal(size=(*shape, VOCABULARY)), jnp.float32)
    reference_logits = jnp.asarray(rng.normal(size=(*shape, VOCABULARY)), jnp.float32)
    logits = behavior_logits + jnp.asarray(0.3 * rng.normal(size=(*shape, VOCABULARY)), jnp.float32)
    reward = jnp.asarray([[1.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
    where = jnp.asarray(np.arange(TIME) < rng.integers(2, TIME + 1, size=(PROMPTS, GROUP, 1)))
    key = jax.random.key(0)

    @classmethod
    def chosen(cls, logits):
        return jnp.take_along_axis(jax.nn.log_softmax(logits), cls.token[..., None], -1)[..., 0]


D = Data
BEHAVIOR, REFERENCE = D.chosen(D.behavior_logits), D.chosen(D.reference_logits)
MASK = np.asarray(D.where)
per_token = lambda advantage: jnp.broadcast_to(advantage[..., None], D.shape)

SURROGATES = {
    "policy_gradient": lambda lp, a: policy.policy_gradient(lp, a, where=D.where),
    "clipped_surrogate": lambda lp, a: policy.clipped_surrogate(lp, BEHAVIOR, a, where=D.where, dual_clip=3.0),
    "sequence_clipped": lambda lp, a: policy.clipped_surrogate(lp, BEHAVIOR, a, where=D.where, level="sequence_mean"),
    "decoupled_clip": lambda lp, a: policy.decoupled_clip(lp, BEHAVIOR, REFERENCE, a, where=D.where),
    "hazard_modulated": lambda lp, a: policy.hazard_modulated_surrogate(lp, BEHAVIOR, a, where=D.where),
    "ratio_variance": lambda lp, a: policy.ratio_variance(lp, BEHAVIOR, a, coefficient=0.5, where=D.where),
    "low_probability": lambda lp, a: policy.low_probability_surrogate(
        lp, BEHAVIOR, a, REFERENCE, fraction=0.5, where=D.where
    ),
    "clip_cov": lambda lp, a: policy.clip_cov(D.key, lp, BEHAVIOR, a, fraction=0.2, lower=0.0, where=D.where),
    "kl_cov": lambda lp, a: policy.kl_cov(lp, BEHAVIOR, a, fraction=0.2, where=D.where),
    "mixed_policy": lambda lp, a: policy.mixed_policy(lp, BEHAVIOR, a, D.token == 0, where=D.where),
    "unified_gradient": lambda lp, a: policy.unified_gradient(lp, BEHAVIOR, a, where=D.where),
    "advantage_regression": lambda lp, a: policy.advantage_regression(lp, BEHAVIOR, a, where=D.where),
}
ADVANTAGES = {
    "group_relative": lambda: per_token(returns.group_relative(D.reward)),
    "dr_grpo": lambda: per_token(returns.group_relative(D.reward, scale="none")),
    "lite_ppo": lambda: per_token(returns.group_relative(D.reward, scale="batch_std")),
    "beta_normalized": lambda: per_token(returns.beta_normalized(D.reward)),
    "amplified": lambda: per_token(returns.amplified(D.reward)),
    "confidence_penalty": lambda: per_token(
        returns.confidence_penalty(returns.group_relative(D.reward), BEHAVIOR, REFERENCE, where=D.where)
    ),
    "entropy_modulated": lambda: returns.entropy_modulated(
        returns.group_relative(D.reward), entropy.categorical_entropy(D.behavior_logits), where=D.where
    ),
    "gae": lambda: returns.gae(
        jnp.where(jnp.arange(TIME) == TIME - 1, D.reward[..., None], 0.0), 1.0, BEHAVIOR, REFERENCE, axis=-1
    ),
    "excess_length": lambda: per_token(
        returns.group_relative(D.reward)
        * weighting.excess_length_weight(jnp.sum(D.where, -1).astype(jnp.float32), D.reward > 0)
    ),
}
REGULARIZERS = {
    "none": lambda logits: jnp.zeros(D.shape),
    "entropy": lambda logits: -jnp.where(D.where, entropy.categorical_entropy(logits), 0),
    "nucleus_entropy": lambda logits: -jnp.where(D.where, entropy.nucleus_entropy(logits), 0),
    "sampled_negentropy": lambda logits: entropy.sampled_negentropy(D.chosen(logits), BEHAVIOR, where=D.where),
    "entropy_band": lambda logits: entropy.entropy_band_penalty(
        entropy.categorical_entropy(logits), jnp.full(D.shape[:-1], 1.0), low=0.9, high=1.1, kind="hinge", where=D.where
    ),
    "k3": lambda logits: divergence.kl_estimate(D.chosen(logits), REFERENCE, where=D.where),
    "exact_kl": lambda logits: jnp.where(D.where, divergence.kl_categorical(logits, D.reference_logits), 0),
    "likelihood_displacement": lambda logits: behavior.likelihood_displacement(
        D.chosen(logits), BEHAVIOR, returns.group_relative(D.reward), where=D.where
    ),
}
REDUCTIONS = {
    "mean": (lambda x: reduce.mean(x, where=D.where), lambda x: x[MASK].mean(0)),
    "token_mean": (lambda x: reduce.token_mean(x, where=D.where), lambda x: x[MASK].sum(0) / MASK.sum()),
    "sequence_mean": (
        lambda x: reduce.sequence_mean(x, where=D.where),
        lambda x: np.mean([x[i][MASK[i]].mean(0) for i in np.ndindex(MASK.shape[:-1])], 0),
    ),
    "sequence_sum": (
        lambda x: reduce.sequence_mean(x, where=D.where, inner="sum"),
        lambda x: np.mean([x[i][MASK[i]].sum(0) for i in np.ndindex(MASK.shape[:-1])], 0),
    ),
    "constant_length": (
        lambda x: reduce.constant_length(x, where=D.where, length=8.0),
        lambda x: x[MASK].sum(0) / (8 * PROMPTS * GROUP),
    ),
}
COMBINATIONS = list(itertools.product(REGULARIZERS, REDUCTIONS))


def with_jacobian(function):
    """The function together with its derivative in the logits, compiled once for all advantages."""
    program = jax.jit(lambda logits, *rest: (function(logits, *rest), jax.jacrev(function)(logits, *rest)))
    return lambda *arguments: tuple(np.asarray(x, np.float64) for x in program(*arguments))


@pytest.fixture(scope="module")
def regularizer_parts():
    """Value and derivative of each regularizer alone."""
    return {name: with_jacobian(regularizer)(D.logits) for name, regularizer in REGULARIZERS.items()}


@pytest.fixture(scope="module")
def advantages():
    return {name: advantage() for name, advantage in ADVANTAGES.items()}


# A compilation each; those that differ most in what they take.
FEW = ("clipped_surrogate", "decoupled_clip", "low_probability", "kl_cov", "mixed_policy")


@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in SURROGATES]
)
def test_a_surrogate_composes_with_everything(name, regularizer_parts, advantages):
    surrogate = lambda logits, advantage: SURROGATES[name](D.chosen(logits), advantage)

    def objectives(logits, advantage):
        loss = surrogate(logits, advantage)
        total = lambda r, q: REDUCTIONS[q][0](loss) + COEFFICIENT * REDUCTIONS[q][0](REGULARIZERS[r](logits))
        return jnp.stack([total(r, q) for r, q in COMBINATIONS])

    together, alone = with_jacobian(objectives), with_jacobian(surrogate)
    for advantage_name, advantage in advantages.items():
        values, slopes = together(D.logits, advantage)
        value, slope = alone(D.logits, advantage)
        assert np.isfinite(values).all() and np.isfinite(slopes).all()
        for i, (r, q) in enumerate(COMBINATIONS):
            by_hand, what = REDUCTIONS[q][1], f"{advantage_name}, {r}, {q}"
            penalty, penalty_slope = regularizer_parts[r]
            expected = by_hand(value) + COEFFICIENT * by_hand(penalty)
            np.testing.assert_allclose(values[i], expected, rtol=2e-4, atol=1e-6, err_msg=what)
            expected = by_hand(slope + COEFFICIENT * penalty_slope)
            np.testing.assert_allclose(slopes[i], expected, rtol=2e-3, atol=2e-6, err_msg=f"gradient of {what}")
