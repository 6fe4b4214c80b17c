"""The recurrence of selective state-space models, a sequence layer for policies conditioned on returns."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from rlx.types import check_broadcast, floating


def selective_scan(
    x: Float[Array, "*#batch time channel"],
    delta: Float[Array, "*#batch time channel"],
    a: Float[Array, "channel state"],
    b: Float[Array, "*#batch time state"],
    c: Float[Array, "*#batch time state"],
    d: Float[Array, "channel"],
    *,
    initial_state: Float[Array, "*#batch channel state"] | None = None,
    return_state: bool = False,
) -> Float[Array, "*batch time channel"] | tuple[Float[Array, "*batch time channel"], Float[Array, "..."]]:
    """Selective state-space scan (S6): a linear recurrence whose step size and matrices depend on the input.

    h_t = exp(Δ_t·A) ⊙ h_{t−1} + Δ_t·B_t·x_t,  y_t = C_t·h_t + D ⊙ x_t, one h [state] for each channel. A large Δ
    forgets the past and takes up the input; Δ = 0 leaves the state as it is. Sums run in at least float32.

    Args:
        x: inputs [*batch, time, channel].
        delta: step sizes Δ [*batch, time, channel], positive, such as a softplus.
        a: decay rates A [channel, state], negative, such as −exp(A_log).
        b: input matrix B of each time [*batch, time, state].
        c: output matrix C of each time [*batch, time, state].
        d: weight D of the direct connection [channel].
        initial_state: state h before the first input [*batch, channel, state]; 0 if None.
        return_state: static; whether the last state is returned too, to continue the scan from.

    Returns:
        Outputs y [*batch, time, channel]; with `return_state` the pair (y, h after the last input
        [*batch, channel, state]).

    Raises:
        ValueError: for a non-floating array or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.policies import selective_scan
        >>> x, ones = jnp.array([[1.0], [0.0], [0.0]]), jnp.ones((3, 1))
        >>> half = jnp.log(jnp.array([[0.5]]))  # the state is halved at each time
        >>> [round(x, 3) for x in selective_scan(x, ones, half, ones, ones, jnp.zeros(1))[:, 0].tolist()]
        [1.0, 0.5, 0.25]

    References:
        Gu & Dao, 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752.
        Lv et al., 2024, "Decision Mamba: A Multi-Grained State Space Model with Self-Evolution Regularization
        for Offline RL", arXiv:2406.05427.
    """
    channel = check_broadcast(x=x, delta=delta, d=d)[-1]
    check_broadcast(b=b, c=c, a=a[0])
    check_broadcast(a=a[:, 0], d=d)
    *batch, _ = check_broadcast(x=x[..., 0], delta=delta[..., 0], b=b[..., 0], c=c[..., 0])
    if initial_state is None:
        initial_state = jnp.zeros((), jnp.result_type(x))
    x, delta, a, b, c, d, initial_state = floating(x=x, delta=delta, a=a, b=b, c=c, d=d, initial_state=initial_state)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    decay_rate, skip = a.astype(wide), d.astype(wide)

    def step(state: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        x, delta, b, c = (i.astype(wide) for i in inputs)
        state = jnp.exp(delta[..., None] * decay_rate) * state + (delta * x)[..., None] * b[..., None, :]
        return state, (jnp.sum(state * c[..., None, :], -1) + skip * x).astype(initial_state.dtype)

    start = jnp.broadcast_to(initial_state.astype(wide), (*batch, channel, a.shape[-1]))
    state, y = lax.scan(step, start, tuple(jnp.moveaxis(i, -2, 0) for i in (x, delta, b, c)))
    y = jnp.moveaxis(y, 0, -2)
    return (y, state.astype(y.dtype)) if return_state else y
