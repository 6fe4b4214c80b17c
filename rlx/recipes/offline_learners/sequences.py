"""Settings of the learners that read the latest steps of an episode."""

from __future__ import annotations

import dataclasses

from rlx.recipes.offline import Config


@dataclasses.dataclass(frozen=True)
class DecisionTransformer(Config):
    """Decision Transformer; returns and what is asked for are undiscounted."""

    algorithm = "decision_transformer"
    sweepable = (*Config.sweepable, "weight_decay", "max_gradient_norm", "return_scale")
    normalization_eps = 1e-6
    return_discount = 1.0

    total_steps: int = 100_000
    """Gradient steps of each seed (rounded up to whole updates)."""
    batch_size: int = 64
    """Sequences of a minibatch."""
    learning_rate: float = 1e-4
    """AdamW's step size, after the warm-up."""
    warmup_steps: int = 10_000
    """Gradient steps over which the step size grows to that."""
    weight_decay: float = 1e-4
    """AdamW's, on all parameters."""
    max_gradient_norm: float = 0.25
    """Longer gradients are shortened to this."""
    sequence_length: int = 20
    """Steps that the policy sees, the newest included."""
    target_return: float | None = None
    """Return to ask for when acting; None takes the best of the dataset."""
    return_scale: float = 1e-3
    """Multiplies the returns that the network sees; 1 where they are small."""
    num_timesteps: int = 1000
    """Steps of an episode that are told apart; later ones count as the last of them."""
    embedding_size: int = 128
    """Width of the network."""
    num_layers: int = 3
    """Blocks of attention and perceptron."""
    num_heads: int = 1
    """Heads of each attention."""
    attention_dropout: float = 0.1
    """Share of the attention's weights that is dropped."""
    residual_dropout: float = 0.1
    """Share of what a block adds that is dropped."""
    embedding_dropout: float = 0.1
    """Share of the tokens' features that is dropped."""

    def learner(self, space, source, total_steps):
        import jax.numpy as jnp
        import optax

        from rlx import policies
        from rlx.algorithms import offline

        network = policies.decision_transformer(
            space,
            num_timesteps=self.num_timesteps,
            embedding_size=self.embedding_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            attention_dropout=self.attention_dropout,
            residual_dropout=self.residual_dropout,
            embedding_dropout=self.embedding_dropout,
        )
        rate, warmup_steps = self.learning_rate, self.warmup_steps
        warming = lambda step: rate * jnp.minimum((step + 1) / warmup_steps, 1)
        optimizer = optax.chain(
            optax.clip_by_global_norm(self.max_gradient_norm), optax.adamw(warming, weight_decay=self.weight_decay)
        )
        best = jnp.max(source.dataset.episode_return) if self.target_return is None else self.target_return
        return offline.decision_transformer(network, optimizer, target_return=best, return_scale=self.return_scale)
