"""Choosing the latent that a policy is conditioned on."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree


def best_latent(
    key: PRNGKeyArray,
    prior_sample_fn: Callable[[Array], PyTree[Array]],
    value_fn: Callable[[PyTree[Array]], Array],
    *,
    num_samples: int = 100,
) -> PyTree[Array]:
    """Latent of the highest value among samples of a prior, for a policy to act on (DoC, dichotomy of control).

    z* = argmax over z_1 … z_n ~ p(z|s) of V(s, z_i). The prior keeps to futures that can be reached from s.

    Args:
        key: random key.
        prior_sample_fn: function of a key that gives one latent z, an array or a pytree.
        value_fn: function of one latent that gives its value V(s, z), a scalar.
        num_samples: static; number n of samples.

    Returns:
        The latent, of the structure that `prior_sample_fn` gives; the first of equally good ones.

    Examples:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from rlx.policies import best_latent
        >>> prior = lambda key: jax.random.choice(key, jnp.array([-1.0, 2.0, 4.0]))
        >>> float(best_latent(jax.random.key(0), prior, lambda z: -jnp.square(z - 3.0) + z))
        4.0

    References:
        Yang et al., 2022, "Dichotomy of Control: Separating What You Can Control from What You Cannot",
        arXiv:2210.13435.
    """
    latents = jax.vmap(prior_sample_fn)(jax.random.split(key, num_samples))
    best = jnp.argmax(jax.vmap(value_fn)(latents))
    return jax.tree.map(lambda z: z[best], latents)
