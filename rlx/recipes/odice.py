"""O-DICE wired up: `rlx.make_train("odice", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from rlx.recipes import discrete, offline
from rlx.recipes.presets.offline_data import ODICE
from rlx.recipes.settings import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(offline.Valued):
    """Configuration of an O-DICE run; the paper tunes lambda and eta for each dataset."""

    hidden_sizes: tuple[int, ...] = offline.other_default(offline.Feedforward, "hidden_sizes", (1024, 1024))
    critic_hidden_sizes: tuple[int, ...] | None = offline.other_default(
        offline.Valued, "critic_hidden_sizes", (256, 256)
    )
    learning_rate: float = offline.other_default(offline.Offline, "learning_rate", 2e-4)
    critic_learning_rate: float = offline.other_default(offline.Valued, "critic_learning_rate", 2e-4)
    normalize_observation: bool = offline.other_default(offline.Offline, "normalize_observation", False)
    reward_scaling: Literal["none", "return_range"] = offline.other_default(
        offline.Valued, "reward_scaling", "return_range"
    )
    lambda_: float = setting(0.6, "Share of the residuals in the value's loss.", within=FRACTION, swept=True)
    eta: float = setting(
        1.0, "Weight of the backward gradient; 0 is the semi-gradient.", within=NOT_NEGATIVE, swept=True
    )
    gradient: Literal["orthogonal", "semi", "true"] = setting(
        "orthogonal", "How the value's forward and backward gradients are combined."
    )
    divergence: Literal["pearson", "reverse_kl"] = setting(
        "pearson", "Divergence of the policy's visitation from the data's."
    )
    max_weight: float = setting(100.0, "Largest weight of a sample.", within=POSITIVE, swept=True)
    num_values: int = setting(2, "State values, the smallest of which is the target.", group="network", within=COUNT)
    value_layer_norm: bool = setting(
        True, "Layer normalization before every activation of the values.", group="network"
    )
    weight_decay: float = setting(
        1e-4, "L2 penalty on the policy's parameters, through Adam.", within=NOT_NEGATIVE, swept=True
    )


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    value: Any = None,
    optimizer: Any = None,
    value_optimizer: Any = None,
    **slots: Any,
):
    """The config's O-DICE learner for an environment.

    Args:
        config: the config.
        environment: what its networks are made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a `rlx.policies.Network` that gives an `ActionDistribution`, in place of the config's.
        value: an ensemble of state values, in place of the config's.
        optimizer: an `optax.GradientTransformation` of the policy, in place of Adam with weight decay.
        value_optimizer: of the value, in place of Adam.
        **slots: further keywords of `rlx.algorithms.odice.learner`.
    """
    import optax

    from rlx import policies
    from rlx.algorithms import odice

    if policy is None:
        policy = discrete.cloning_policy(environment.action_space, config.hidden_sizes, log_std_bounds=(-5.0, 2.0))
    if value is None:
        value = policies.ensemble(
            offline.state_value(config.critic_sizes, layer_norm=config.value_layer_norm), config.num_values
        )
    if optimizer is None:
        optimizer = optax.chain(optax.add_decayed_weights(config.weight_decay), optax.adam(config.learning_rate))
    arguments = dict(
        lambda_=config.lambda_,
        eta=config.eta,
        gradient=config.gradient,
        divergence=config.divergence,
        max_weight=config.max_weight,
        discount=config.discount,
        tau=config.tau,
    )
    learner = odice.learner(
        policy,
        value,
        optimizer,
        offline.adam(config.critic_learning_rate, value_optimizer),
        **(arguments | slots),
    )
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "odice",
    "O-DICE",
    Config,
    make_learner,
    "rlx.algorithms.odice:learner",
    presets=ODICE,
    about="The paper tunes lambda and eta for each dataset.",
)
