"""f-divergences D_f(π ‖ p) = E_p[f(π/p)]: one table of generators, their derivatives and their conjugates.

Everything is a function of ρ = log t, t = π/p. Exponents are cut at 80, so that values and gradients stay
finite in float32; beyond the cut the gradient is that of the part that has no exponential.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rlx.types import Scalar, check_choice, floating, like

_LARGEST_EXPONENT = 80.0


class _Generator(NamedTuple):
    """A row of the table.

    value: f(t) of (ρ, α), with f(1) = 0.
    slope: f′(t) − f′(1) of (ρ, α); centered, because near t = 1 it is small and f′(1) would drown it.
    slope_at_one: f′(1).
    conjugate: sup_t≥0 (x·t − f(t)) of (x, α); None where it has no closed form.
    """

    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    slope_at_one: float
    conjugate: Callable[[Array, Array], Array] | None


def _exp(exponent: Array) -> Array:
    return jnp.exp(jnp.minimum(exponent, _LARGEST_EXPONENT))


def _expm1(exponent: Array) -> Array:
    return jnp.expm1(jnp.minimum(exponent, _LARGEST_EXPONENT))


def _square_expm1(exponent: Array) -> Array:
    return jnp.square(jnp.expm1(jnp.minimum(exponent, _LARGEST_EXPONENT / 2)))


def _or_limit(parameter: Array, regular: Callable[[Array], Array], limit: Array) -> Array:
    """regular(parameter), which divides by it, and its limit at 0."""
    at_zero = parameter == 0
    return jnp.where(at_zero, limit, regular(jnp.where(at_zero, 1, parameter)))


def _below(bound: float, x: Array, inside: Callable[[Array], Array]) -> Array:
    """inside(x) for x < bound, and +inf beyond, without the gradient of a function outside its domain."""
    in_domain = x < bound
    return jnp.where(in_domain, inside(jnp.where(in_domain, x, bound - 1)), jnp.inf)


def _alpha_value(log_ratio: Array, alpha: Array) -> Array:
    power = _or_limit(1 - alpha, lambda order: _expm1(order * log_ratio) / order, log_ratio)
    limit = _exp(log_ratio) * log_ratio - _expm1(log_ratio)
    return _or_limit(alpha, lambda alpha: (_expm1(log_ratio) - power) / alpha, limit)


def _alpha_conjugate(x: Array, alpha: Array) -> Array:
    in_domain = alpha * x < 1
    x = jnp.where(in_domain, x, 0)
    log_t = _or_limit(alpha, lambda alpha: -jnp.log1p(-alpha * x) / alpha, x)
    inside = _or_limit(1 - alpha, lambda order: jnp.expm1(order * log_t) / order, log_t)
    return jnp.where(in_domain, inside, jnp.inf)


_GENERATORS = {
    "reverse_kl": _Generator(
        value=lambda ρ, α: _exp(ρ) * ρ,
        slope=lambda ρ, α: ρ,
        slope_at_one=1.0,
        conjugate=lambda x, α: jnp.exp(x - 1),
    ),
    "forward_kl": _Generator(
        value=lambda ρ, α: -ρ,
        slope=lambda ρ, α: -_expm1(-ρ),
        slope_at_one=-1.0,
        conjugate=lambda x, α: _below(0.0, x, lambda x: -1 - jnp.log(-x)),
    ),
    "jensen_shannon": _Generator(
        value=lambda ρ, α: _exp(ρ) * (math.log(2) + jax.nn.log_sigmoid(ρ)) + math.log(2) + jax.nn.log_sigmoid(-ρ),
        slope=lambda ρ, α: math.log(2) + jax.nn.log_sigmoid(ρ),
        slope_at_one=0.0,
        conjugate=lambda x, α: _below(math.log(2), x, lambda x: -jnp.log1p(-jnp.expm1(x))),
    ),
    "total_variation": _Generator(
        value=lambda ρ, α: jnp.abs(_expm1(ρ)) / 2,
        slope=lambda ρ, α: jnp.sign(ρ) / 2,
        slope_at_one=0.0,
        conjugate=lambda x, α: jnp.where(x <= 0.5, jnp.maximum(x, -0.5), jnp.inf),
    ),
    "pearson": _Generator(
        value=lambda ρ, α: _square_expm1(ρ),
        slope=lambda ρ, α: 2 * _expm1(ρ),
        slope_at_one=0.0,
        conjugate=lambda x, α: jnp.square(jnp.maximum(x / 2 + 1, 0)) - 1,
    ),
    "neyman": _Generator(
        value=lambda ρ, α: 4 * jnp.square(jnp.sinh(jnp.clip(ρ, -_LARGEST_EXPONENT, _LARGEST_EXPONENT) / 2)),
        slope=lambda ρ, α: -_expm1(-2 * ρ),
        slope_at_one=0.0,
        conjugate=lambda x, α: _below(1.0, x, lambda x: 2 - 2 * jnp.sqrt(1 - x)),
    ),
    "squared_hellinger": _Generator(
        value=lambda ρ, α: _square_expm1(ρ / 2),
        slope=lambda ρ, α: -_expm1(-ρ / 2),
        slope_at_one=0.0,
        conjugate=lambda x, α: _below(1.0, x, lambda x: x / (1 - x)),
    ),
    "alpha": _Generator(
        value=_alpha_value,
        slope=lambda ρ, α: _or_limit(α, lambda α: -_expm1(-α * ρ) / α, ρ),
        slope_at_one=0.0,
        conjugate=_alpha_conjugate,
    ),
    "chi_mixed": _Generator(
        value=lambda ρ, α: _square_expm1(ρ) / 2 + _exp(ρ) * ρ,
        slope=lambda ρ, α: _expm1(ρ) + ρ,
        slope_at_one=1.0,
        conjugate=None,
    ),
    "squared_log": _Generator(
        value=lambda ρ, α: jnp.square(ρ) / 2,
        slope=lambda ρ, α: _exp(-ρ) * ρ,
        slope_at_one=0.0,
        conjugate=None,
    ),
}
DIVERGENCES = tuple(_GENERATORS)
CONJUGATES = tuple(name for name, generator in _GENERATORS.items() if generator.conjugate)


def f_generator(
    log_ratio: Float[Array, "*batch"], *, divergence: str = "reverse_kl", alpha: Scalar = 0.5
) -> Float[Array, "*batch"]:
    """Generator f(t) of an f-divergence at t = exp(log_ratio), with E_p[f(π/p)] = D_f(π ‖ p) (f-DPO, χPO).

    reverse_kl t·log t, forward_kl −log t, jensen_shannon t·log(2t/(t+1)) + log(2/(t+1)), total_variation
    ½|t − 1|, pearson (t − 1)², neyman (1 − t)²/t, squared_hellinger (√t − 1)², alpha
    [(t − 1) − (t^(1−α) − 1)/(1 − α)]/α, chi_mixed ½(t − 1)² + t·log t, squared_log ½·log² t; all have f(1) = 0.
    On a CPU the exponentials cost several times the memory traffic.

    Args:
        log_ratio: log t = log π − log p of samples of p [*batch]; carries the gradient.
        divergence: static; a name of the list above.
        alpha: order α of the divergence "alpha"; 0 is the reverse, 1 the forward KL, up to t − 1.

    Returns:
        f(t) per element.

    Raises:
        ValueError: for an unknown `divergence` or a non-floating array.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> log_ratio = jnp.log(jnp.array([0.5, 1.0, 2.0]))
        >>> print(np.asarray(divergence.f_generator(log_ratio, divergence="reverse_kl")).round(3))
        [-0.347  0.     1.386]
        >>> print(np.asarray(divergence.f_generator(log_ratio, divergence="pearson")).round(3))
        [0.25 0.   1.  ]

    References:
        Wang et al., 2023, "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse
        Divergence Constraints", arXiv:2309.16240.
        Huang et al., 2024, "Correcting the Mythos of KL-Regularization: Direct Alignment without
        Overoptimization via Chi-Squared Preference Optimization", arXiv:2407.13399 (chi_mixed).
    """
    check_choice("divergence", divergence, DIVERGENCES)
    (log_ratio,) = floating(log_ratio=log_ratio)
    return _GENERATORS[divergence].value(log_ratio, *like(log_ratio, alpha))


def f_derivative(
    log_ratio: Float[Array, "*batch"],
    *,
    divergence: str = "reverse_kl",
    alpha: Scalar = 0.5,
    centered: bool = False,
) -> Float[Array, "*batch"]:
    """Derivative f′(t) of the generator of an f-divergence at t = exp(log_ratio) (f-DPO).

    reverse_kl log t + 1, forward_kl −1/t, jensen_shannon log(2t/(t+1)), total_variation ½·sign(log t), pearson
    2(t − 1), neyman 1 − t⁻², squared_hellinger 1 − t^(−½), alpha (1 − t^(−α))/α, chi_mixed t + log t,
    squared_log (log t)/t. f′(1) = 1, −1 and 1 for reverse_kl, forward_kl and chi_mixed, otherwise 0.
    total_variation has no gradient almost everywhere, squared_log has no inverse beyond t = e.

    Args:
        log_ratio: log t = log π − log p [*batch]; its gradient is that of the formula.
        divergence: static; a name of the list above.
        alpha: order α of the divergence "alpha"; 0 is the centered reverse_kl, 1 the centered forward_kl. TRL's
            is 1 − α.
        centered: static; subtract f′(1), which a loss on single responses needs and a pair cancels.

    Returns:
        f′(t) per element.

    Raises:
        ValueError: for an unknown `divergence` or a non-floating array.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.regularizers import divergence
        >>> log_ratio = jnp.array([-1.0, 0.0, 1.0])
        >>> print(divergence.f_derivative(log_ratio, divergence="reverse_kl"))
        [0. 1. 2.]
        >>> print(np.asarray(divergence.f_derivative(log_ratio, divergence="pearson")).round(3))
        [-1.264  0.     3.437]

    References:
        Wang et al., 2023, "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse
        Divergence Constraints", arXiv:2309.16240.
        Go et al., 2023, "Aligning Language Models with Preferences through f-divergence Minimization",
        arXiv:2302.08215.
    """
    check_choice("divergence", divergence, DIVERGENCES)
    (log_ratio,) = floating(log_ratio=log_ratio)
    generator = _GENERATORS[divergence]
    slope = generator.slope(log_ratio, *like(log_ratio, alpha))
    return slope if centered else slope + generator.slope_at_one


def f_conjugate(
    x: Float[Array, "*batch"], *, divergence: str = "pearson", alpha: Scalar = 0.5
) -> Float[Array, "*batch"]:
    """Convex conjugate f*(x) of the generator of an f-divergence, over ratios t ≥ 0 (f-GAN, ODICE).

    f*(x) = sup_{t≥0} x·t − f(t): reverse_kl exp(x − 1), forward_kl −1 − log(−x), jensen_shannon −log(2 − e^x),
    total_variation max(x, −½), pearson max(x/2 + 1, 0)² − 1, neyman 2 − 2√(1 − x), squared_hellinger
    x/(1 − x), alpha [(1 − αx)^(1−1/α) − 1]/(1 − α). Its slope is the ratio t that attains the supremum. Beyond
    the largest slope of f (0, log 2, ½, 1, 1, 1/α for forward_kl, jensen_shannon, total_variation, neyman,
    squared_hellinger, alpha) f* is +inf, with gradient 0.

    Args:
        x: argument [*batch], such as a reward or a residual; carries the gradient.
        divergence: static; a name of the list above.
        alpha: order α of the divergence "alpha".

    Returns:
        f*(x) per element.

    Raises:
        ValueError: for a `divergence` without conjugate in closed form, or a non-floating array.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.regularizers import divergence
        >>> print(divergence.f_conjugate(jnp.array([-4.0, 0.0, 2.0]), divergence="pearson"))
        [-1.  0.  3.]

    References:
        Nowozin et al., 2016, "f-GAN: Training Generative Neural Samplers using Variational Divergence
        Minimization", arXiv:1606.00709.
        Mao et al., 2024, "ODICE: Revealing the Mystery of Distribution Correction Estimation via
        Orthogonal-gradient Update", arXiv:2402.00348 (pearson over t ≥ 0).
    """
    check_choice("divergence", divergence, CONJUGATES)
    (x,) = floating(x=x)
    return _GENERATORS[divergence].conjugate(x, *like(x, alpha))
