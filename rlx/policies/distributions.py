"""Action distributions: a numpyro distribution over the *raw* action and the map from there to the action.

A squashed action cannot be inverted once it has saturated in float32, so densities are always evaluated at the
raw (unsquashed) value, which trainers store beside the action.
"""

from __future__ import annotations

import dataclasses
from functools import partial, singledispatch

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rlx.regularizers.divergence import kl_categorical


@singledispatch
def mode(distribution: dist.Distribution) -> Array:
    """The most probable value of a numpyro distribution, which has no rule of its own for this.

    Add one for another distribution with `mode.register`.

    Raises:
        TypeError: no rule is known for this distribution.
    """
    raise TypeError(
        f"no mode is known for {type(distribution).__name__}: add a rule with "
        f"`rlx.policies.mode.register({type(distribution).__name__})`"
    )


@mode.register
def _(distribution: dist.Normal) -> Array:
    return distribution.loc


@mode.register
def _(distribution: dist.Independent) -> Array:
    return mode(distribution.base_dist)


@mode.register
def _(distribution: dist.CategoricalLogits) -> Array:
    return jnp.argmax(distribution.logits, axis=-1)


@mode.register
def _(distribution: dist.Beta) -> Array:
    # `beta_policy` keeps both concentrations above one, so the density has one interior maximum.
    a, b = distribution.concentration1, distribution.concentration0
    return (a - 1) / (a + b - 2)


@partial(jax.tree_util.register_dataclass, data_fields=["base", "low", "high"], meta_fields=["kind"])
@dataclasses.dataclass(frozen=True)
class ActionDistribution:
    """Distribution of an action: `action = squash(raw)`, `raw ~ base`.

    Attributes:
        base: numpyro distribution over the raw action, event shape = the action's.
        low: lower bounds `[*action]` (ignored by `kind="identity"`).
        high: upper bounds `[*action]`.
        kind: `"identity"` (discrete or unbounded), `"clip"` (the density stays that of the raw action),
            `"tanh"` (raw in R, action = low + (high-low)·(tanh(raw)+1)/2) or `"affine"` (raw in (0, 1)).
    """

    base: dist.Distribution
    low: PyTree = -1.0
    high: PyTree = 1.0
    kind: str = "identity"

    def sample(self, key: PRNGKeyArray) -> Array:
        """A raw action, `[*batch, *action]`."""
        return self.base.sample(key)

    def mode(self) -> Array:
        """The raw action of highest density under `base`."""
        return mode(self.base)

    def action(self, raw: Array) -> Array:
        """The action that the environment receives for a raw action."""
        if self.kind == "identity":
            return raw
        if self.kind == "clip":
            return jnp.clip(raw, self.low, self.high)
        unit = (jnp.tanh(raw) + 1) / 2 if self.kind == "tanh" else raw
        return self.low + (self.high - self.low) * unit

    def log_prob(self, raw: Array) -> Float[Array, "*batch"]:
        """Log-density of `action(raw)` (of `raw` itself when clipped), in nats."""
        return self.base.log_prob(raw) - self._log_det(raw)

    def entropy(self, key: PRNGKeyArray) -> Float[Array, "*batch"]:
        """Differential (or Shannon) entropy in nats.

        Exact where `base` has a closed form; a squashed one adds the one-sample estimate of E[log |det J|]
        (reparameterized, so its gradient is unbiased), for which `key` is used.
        """
        if self.kind == "tanh":
            return self.base.entropy() + self._log_det(self.base.rsample(key))
        return self.base.entropy() + self._log_det(self.mode())

    def kl(self, other: ActionDistribution) -> Float[Array, "*batch"] | None:
        """KL(self ‖ other) in nats of two distributions that squash alike, which does not change it.

        In closed form, of categorical, Gaussian and Beta distributions of independent dimensions; None of others.
        """
        match self.base, other.base:
            case dist.CategoricalLogits(), dist.CategoricalLogits():
                return kl_categorical(self.base.logits, other.base.logits)
            case (dist.Independent(base_dist=dist.Normal()), dist.Independent(base_dist=dist.Normal())) | (
                dist.Independent(base_dist=dist.Beta()),
                dist.Independent(base_dist=dist.Beta()),
            ):
                return dist.kl_divergence(self.base, other.base)
        return None

    def _log_det(self, raw: Array) -> Float[Array, "*batch"]:
        if self.kind in ("identity", "clip"):
            return jnp.zeros(self.base.batch_shape)
        log_scale = jnp.log(jnp.broadcast_to((self.high - self.low) / 2, raw.shape).astype(raw.dtype))
        if self.kind == "affine":
            log_det = log_scale + jnp.log(2.0)
        else:
            # log(1 - tanh(x)^2) written so that it neither overflows nor cancels.
            log_det = log_scale + 2 * (jnp.log(2.0) - raw - jax.nn.softplus(-2 * raw))
        axes = tuple(range(raw.ndim - len(self.base.event_shape), raw.ndim))
        return jnp.sum(log_det, axis=axes)


def categorical(logits: Float[Array, "*batch actions"]) -> ActionDistribution:
    """Categorical distribution over `actions` choices; raw action and action are the index (int32)."""
    return ActionDistribution(dist.CategoricalLogits(logits=logits))


def gaussian(
    mean: Float[Array, "*batch action"],
    std: Float[Array, "*#batch action"],
    low: PyTree = -1.0,
    high: PyTree = 1.0,
    *,
    squash: str = "clip",
) -> ActionDistribution:
    """Diagonal Gaussian over the raw action; `squash` is `"identity"`, `"clip"` or `"tanh"`."""
    return ActionDistribution(dist.Normal(mean, std).to_event(1), low, high, squash)


def beta(
    concentration1: Float[Array, "*batch action"],
    concentration0: Float[Array, "*batch action"],
    low: PyTree = -1.0,
    high: PyTree = 1.0,
) -> ActionDistribution:
    """Independent Beta distributions stretched onto `[low, high]`."""
    return ActionDistribution(dist.Beta(concentration1, concentration0).to_event(1), low, high, "affine")
