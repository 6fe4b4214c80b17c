"""Critics whose features are as far apart as what the states lead to, whatever learner they serve."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.algorithms.actor_critic import Auxiliary, GradientStep, Slots, descend
from rlx.algorithms.learner import Transition
from rlx.losses.value import squared_td
from rlx.policies import EncodedCritic, Network
from rlx.regularizers import representation
from rlx.types import Scalar


class LatentModels(NamedTuple):
    """Parameters of `reward` and `transition` with the leading axis `[ensemble]`, and their optimizer's state."""

    params: dict[str, PyTree]
    optimizer_state: PyTree


def slots(
    encoded: EncodedCritic,
    reward_model: Network,
    transition_model: Network,
    optimizer: optax.GradientTransformation,
    *,
    weight: Scalar = 0.5,
    discount: Scalar = 0.99,
    order: int = 2,
) -> Slots:
    """The bisimulation loss of a critic's features, for `added` of a TD3 or SAC learner or what is built on them.

    Every critic i shares its encoder φ_i with a reward model r̂_i and a Gaussian transition model P̂_i of its own, which
    are trained beside it on the features as they are. With (s', a') a random permutation of the minibatch::

        L_Q  += weight·Σ_i mean (‖φ_i(s) − φ_i(s')‖ − |r̂_i − r̂_i'| − γ·W₂(P̂_i, P̂_i'))²
        L_r̂   = Σ_i mean (r̂_i(φ_i(s), a) − r)²
        L_P̂   = Σ_i mean −log P̂_i(φ_i(s⁺) | φ_i(s), a),    s⁺ the next observation

    Only the encoders follow the first, only the models the other two. Metrics are `bisimulation`, the mean of the
    squares, `latent_reward_loss` and `latent_transition_loss`. Distances of features take the scale of rewards.

    Args:
        encoded: the critic, whose `encoded.critic` the learner gets, such as `rlx.policies.encoded_critic`.
        reward_model: `apply(params, [φ, a]) -> r̂`, such as `rlx.policies.critic`.
        transition_model: `apply(params, [φ, a])` gives an `ActionDistribution` of the next φ, a Gaussian, such as
            `rlx.policies.gaussian_policy` of an unbounded `Box` with `squash="identity"` and
            `state_dependent_std=True`.
        optimizer: transformation of the gradient of both models.
        weight: how much it counts; 0 leaves the learner as it is without.
        discount: γ, how much a distance of what follows counts against one of rewards.
        order: 1 or 2, the norm of the features' distance (static).

    Returns:
        Slots, the state of whose auxiliary models is a `LatentModels`.

    Reconstruction:
        Of the loss see `rlx.regularizers.representation.bisimulation`. Of the training nothing is published beyond a
        sum of the losses. Here each critic has an encoder of its own, since an ensemble is worth what its members
        differ by, and the model losses do not shape the features.

    References:
        Hong, Dragan, Levine (2023). Offline RL with Observation Histories: Analyzing and Improving Sample Complexity.
        arXiv:2310.20663.
    """
    networks = {"reward": reward_model, "transition": transition_model}

    def predict(params: PyTree, feature: Float[Array, "ensemble sample feature"], action: Array):
        """Reward, and mean and standard deviation of the next feature, by every member."""

        def by_member(params: PyTree, feature: Array):
            inputs = jnp.concatenate([feature, action], axis=-1)
            following = transition_model.apply(params["transition"], inputs).base
            return reward_model.apply(params["reward"], inputs), following.mean, jnp.sqrt(following.variance)

        return jax.vmap(by_member)(params, feature)

    def loss(feature: Array, predicted: tuple[Array, ...], key: PRNGKeyArray) -> Float[Array, "ensemble sample"]:
        other = jax.random.permutation(key, feature.shape[1])
        pairs = [part for x in (feature, *predicted) for part in (x, x[:, other])]
        return representation.bisimulation(*pairs, discount=discount, order=order)

    def penalty(step: GradientStep) -> Float[Array, "ensemble sample"]:
        feature = encoded.encode(step.state.params["critic"], step.batch.observation)
        return weight * loss(feature, predict(step.state.auxiliary.params, feature, step.batch.action), step.key)

    def init(key: PRNGKeyArray, example: Transition) -> LatentModels:
        inputs = jnp.concatenate([jnp.zeros(encoded.feature_size, example.action.dtype), example.action[0]])
        params = {
            name: jax.vmap(lambda one, network=network: network.init(one, inputs))(jax.random.split(part, encoded.num))
            for (name, network), part in zip(networks.items(), jax.random.split(key))
        }
        return LatentModels(params, optimizer.init(params))

    def update(models: LatentModels, step: GradientStep):
        batch = step.batch
        feature, following = (
            encoded.encode(step.state.params["critic"], x) for x in (batch.observation, batch.next_observation)
        )

        def objective(params: PyTree):
            predicted = predict(params, feature, batch.action)
            reward, mean, scale = predicted
            log_prob = jnp.sum(jax.scipy.stats.norm.logpdf(following, mean, scale), axis=-1)
            losses = {
                "latent_reward_loss": jnp.sum(jnp.mean(squared_td(reward, batch.reward), axis=-1)),
                "latent_transition_loss": jnp.sum(jnp.mean(-log_prob, axis=-1)),
            }
            return sum(losses.values()), losses | {"bisimulation": jnp.mean(loss(feature, predicted, step.key))}

        params, optimizer_state, metrics = descend(optimizer, objective, models.params, models.optimizer_state)
        return LatentModels(params, optimizer_state), None, metrics

    return Slots(critic_penalty=penalty, auxiliary=Auxiliary(init, update))
