"""Flow matching: a velocity field that carries noise to data along straight lines."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rlx.losses.generative.denoising import denoising_loss
from rlx.types import check_choice, elements


def interpolate(
    clean: Float[Array, "*#batch event"], noise: Float[Array, "*#batch event"], time: Float[Array, "*#batch"]
) -> Float[Array, "*batch event"]:
    """Point on the straight line of flow matching, from a sample of the data to a sample of the noise.

    x_t = (1 − t)·x_0 + t·x_1, which is the data at t = 0 and the noise at t = 1.

    Args:
        clean: sample x_0 of the data [*batch, event].
        noise: sample x_1 of the noise, fresh or the one that x_0 was generated from.
        time: t in [0, 1] [*batch].

    Returns:
        The point x_t [*batch, event].

    Raises:
        ValueError: for a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import generative
        >>> clean, noise = jnp.array([4.0, 8.0]), jnp.array([0.0, -8.0])
        >>> print(*(generative.interpolate(clean, noise, jnp.array(t)) for t in (0.0, 0.25, 1.0)))
        [4. 8.] [3. 4.] [ 0. -8.]

    References:
        Lipman et al., 2022, "Flow Matching for Generative Modeling", arXiv:2210.02747.
        Liu, Gong and Liu, 2022, "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
        arXiv:2209.03003.
    """
    clean, noise, time = elements(clean=clean, noise=noise, time=jnp.expand_dims(time, -1))
    return (1 - time) * clean + time * noise


def flow_matching_loss(
    velocity: Float[Array, "*#batch event"],
    clean: Float[Array, "*#batch event"],
    noise: Float[Array, "*#batch event"],
    *,
    time: Float[Array, "*#batch"] | None = None,
    target: str = "velocity",
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Flow matching: squared error of a velocity field against the straight line from data to noise.

    L = mean_event (v − (x_1 − x_0))², with v the velocity at x_t of `interpolate`. Supervised as a prediction of the
    noise, x̂_1 = x_t + (1 − t)·v, the loss is (1 − t)² times that; as one of the data, x̂_0 = x_t − t·v, it is t²
    times that. With the noise that x_0 was generated from it is the error of noise-tracked preference pairs, for
    `rlx.losses.preference.denoising_dpo`.

    Args:
        velocity: velocity v at x_t [*batch, event]; carries the gradient.
        clean: sample x_0 of the data; a constant.
        noise: sample x_1 of the noise; a constant.
        time: t in [0, 1] [*batch], needed for the targets "noise" and "clean"; a constant.
        target: static; "velocity", "noise" or "clean".
        where: boolean mask [*batch], True where a sample counts.

    Returns:
        Loss per sample [*batch], 0 where masked.

    Raises:
        ValueError: for an unknown `target`, a `time` that is missing, a non-floating array, a non-boolean `where`, or
            unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import generative
        >>> clean, noise = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.0])
        >>> print(generative.flow_matching_loss(noise - clean, clean, noise))
        0.0
        >>> print(generative.flow_matching_loss(jnp.array([-1.0, 0.0]), clean, noise))
        2.0

    References:
        Lipman et al., 2022, "Flow Matching for Generative Modeling", arXiv:2210.02747.
        McAllister et al., 2025, "Flow Matching Policy Gradients", arXiv:2507.21053 (the target "noise").
        Lu et al., 2026, "Offline Preference Optimization for Rectified Flow with Noise-Tracked Pairs",
        arXiv:2605.09433.
    """
    check_choice("target", target, ("velocity", "noise", "clean"))
    if time is None and target != "velocity":
        raise ValueError(f"time must be given for the target {target!r}")
    mask = None if where is None else jnp.expand_dims(where, -1)
    velocity, clean, noise, time = elements(
        velocity=velocity, clean=clean, noise=noise, time=0.0 if time is None else jnp.expand_dims(time, -1), where=mask
    )
    weight = {"velocity": jnp.ones_like(time), "noise": jnp.square(1 - time), "clean": jnp.square(time)}[target]
    weight = weight if weight.ndim == 0 else jnp.squeeze(weight, -1)
    return denoising_loss(velocity, noise - clean, weight=weight, where=where)
