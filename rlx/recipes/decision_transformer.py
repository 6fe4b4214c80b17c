"""Decision Transformer wired up: `rlx.make_train("decision_transformer", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from rlx.recipes import offline
from rlx.recipes.settings import COUNT, NOT_NEGATIVE, POSITIVE, setting

DROPPED = "[0, 1)"


@dataclasses.dataclass(frozen=True)
class Config(offline.Offline):
    """Configuration of a Decision Transformer run; returns and what is asked for are undiscounted."""

    normalization_eps: ClassVar[float] = 1e-6
    return_discount: ClassVar[float | None] = 1.0

    total_steps: int = offline.other_default(offline.Offline, "total_steps", 100_000)
    batch_size: int = setting(64, "Sequences of a minibatch.", group="scale", within=COUNT)
    learning_rate: float = setting(1e-4, "AdamW's step size, after the warm-up.", within=POSITIVE, swept=True)
    warmup_steps: int = setting(
        10_000, "Gradient steps over which the step size grows to its full size.", within=NOT_NEGATIVE
    )
    weight_decay: float = setting(1e-4, "AdamW's weight decay, of all parameters.", within=NOT_NEGATIVE, swept=True)
    max_gradient_norm: float = setting(
        0.25, "Norm to which the gradient of all parameters is clipped.", within=POSITIVE, swept=True
    )
    sequence_length: int = setting(
        20, "Steps that the policy sees, the newest included.", group="network", within=COUNT
    )
    target_return: float | None = setting(None, "Return to ask for when acting; None takes the best of the dataset.")
    return_scale: float = setting(
        1e-3, "Factor of the returns that the network sees; 1 where returns are small.", within=POSITIVE, swept=True
    )
    num_timesteps: int = setting(
        1000,
        "Steps of an episode that are told apart; later ones count as the last of them.",
        group="network",
        within=COUNT,
    )
    embedding_size: int = setting(128, "Width of the network.", group="network", within=COUNT)
    num_layers: int = setting(3, "Blocks of attention and perceptron.", group="network", within=COUNT)
    num_heads: int = setting(1, "Heads of each attention.", group="network", within=COUNT)
    attention_dropout: float = setting(
        0.1, "Share of the attention's weights that is dropped.", group="network", within=DROPPED
    )
    residual_dropout: float = setting(
        0.1, "Share of what a block adds that is dropped.", group="network", within=DROPPED
    )
    embedding_dropout: float = setting(
        0.1, "Share of the tokens' features that is dropped.", group="network", within=DROPPED
    )


def make_learner(
    config: Config,
    environment: Any,
    *,
    num_updates: int,
    data: Any = None,
    policy: Any = None,
    optimizer: Any = None,
    **slots: Any,
):
    """The config's Decision Transformer for an environment.

    Args:
        config: the config.
        environment: what its network is made for.
        num_updates: of the run.
        data: what `rlx.recipes.offline.load` gave; None loads it.
        policy: a network as `rlx.policies.decision_transformer` makes it, in place of the config's.
        optimizer: an `optax.GradientTransformation`, in place of AdamW with a warm-up and clipped gradients.
        **slots: further keywords of `rlx.algorithms.decision_transformer.learner`.
    """
    import jax.numpy as jnp
    import optax

    from rlx import policies
    from rlx.algorithms import decision_transformer

    data = offline.load(config) if data is None else data
    if policy is None:
        policy = policies.decision_transformer(
            environment.action_space,
            num_timesteps=config.num_timesteps,
            embedding_size=config.embedding_size,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            attention_dropout=config.attention_dropout,
            residual_dropout=config.residual_dropout,
            embedding_dropout=config.embedding_dropout,
        )
    if optimizer is None:
        rate, warmup_steps = config.learning_rate, config.warmup_steps
        warming = lambda step: rate * jnp.minimum((step + 1) / warmup_steps, 1)
        optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_gradient_norm), optax.adamw(warming, weight_decay=config.weight_decay)
        )
    best = jnp.max(data.dataset.episode_return) if config.target_return is None else config.target_return
    arguments = dict(target_return=best, return_scale=config.return_scale)
    learner = decision_transformer.learner(policy, optimizer, **(arguments | slots))
    return offline.normalized(config, learner, data)


RECIPE = offline.recipe(
    "decision_transformer", "Decision Transformer", Config, make_learner, "rlx.algorithms.decision_transformer:learner"
)
