"""Losses on a chosen and a rejected response, to be minimized; one value per pair.

A pairwise loss is a log-ratio, a map from it to a reward, the margin between two rewards, a link and a label:
`dpo` has them all as options, and most of the other losses are settings of it.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from rlx.regularizers.divergence.generators import f_derivative
from rlx.types import Scalar, check_broadcast, check_choice, elements, floating, like


def _logistic(margin: Array, beta: Array) -> tuple[Array, Array]:
    """log(1 + e^(−m)) and log(1 + e^m), which differ by what lies outside their common logarithm."""
    # m·sign(m) rather than |m|, whose slope at 0, where training begins, is that of one side.
    common = jnp.log1p(jnp.exp(-margin * jnp.sign(margin)))
    return common + jnp.maximum(-margin, 0), common + jnp.maximum(margin, 0)


# ℓ(m) and ℓ(−m).
LINKS = {
    "logistic": _logistic,
    "hinge": lambda margin, beta: (jax.nn.relu(1 - margin), jax.nn.relu(1 + margin)),
    "square": lambda margin, beta: (jnp.square((margin - 0.5) / beta), jnp.square((margin + 0.5) / beta)),
    "exponential": lambda margin, beta: (jnp.exp(jnp.minimum(-margin, 80)), jnp.exp(jnp.minimum(margin, 80))),
}


def implicit_reward(
    log_prob: Float[Array, "*#batch"],
    reference_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.1,
    divergence: str = "reverse_kl",
    alpha: Scalar = 0.5,
) -> Float[Array, "*batch"]:
    """DPO's implicit reward: the one a policy is optimal for, when a divergence keeps it near the reference.

    r = β·[f′(π/π_ref) − f′(1)], which for the reverse KL is β·(log π − log π_ref); 0 where both agree.

    Args:
        log_prob: log π(y|x) of a response [*batch]; carries the gradient.
        reference_log_prob: the same under the reference policy; a constant.
        beta: strength β of the divergence.
        divergence: static; a name of `rlx.regularizers.divergence.f_derivative`.
        alpha: order of the divergence "alpha".

    Returns:
        Reward per response, up to a constant per prompt.

    Raises:
        ValueError: for an unknown `divergence`, a non-floating array, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> log_prob, reference_log_prob = jnp.log(jnp.array([0.8, 0.4, 0.2])), jnp.log(jnp.array([0.4, 0.4, 0.4]))
        >>> reward = lambda kind: preference.implicit_reward(log_prob, reference_log_prob, beta=1.0, divergence=kind)
        >>> print(np.asarray(reward("reverse_kl")).round(3), np.asarray(reward("forward_kl")).round(3))
        [ 0.693  0.    -0.693] [ 0.5  0.  -1. ]

    References:
        Rafailov et al., 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
        arXiv:2305.18290.
        Wang et al., 2023, "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse
        Divergence Constraints", arXiv:2309.16240.
    """
    log_prob, reference_log_prob = elements(log_prob=log_prob, reference_log_prob=reference_log_prob)
    log_ratio = log_prob - lax.stop_gradient(reference_log_prob)
    (beta,) = like(log_ratio, beta)
    return beta * f_derivative(log_ratio, divergence=divergence, alpha=alpha, centered=True)


def pair_loss(
    margin: Float[Array, "*batch"], *, link: str = "logistic", label: Scalar = 1.0, beta: Scalar = 1.0
) -> Float[Array, "*batch"]:
    """Loss of the margin between the rewards of two responses, with a soft label (GPO).

    L = p·ℓ(m) + (1 − p)·ℓ(−m), with ℓ(m) = log(1 + e^(−m)) (link "logistic"), max(0, 1 − m) ("hinge"),
    ((m − ½)/β)² ("square"), or e^(−m) ("exponential", its exponent cut at 80). On a CPU the exponential and the
    logarithm of the logistic link cost several times the memory traffic.

    Args:
        margin: m, reward of the chosen response minus that of the rejected one [*batch]; carries the gradient.
        link: static; "logistic", "hinge", "square" or "exponential".
        label: p, the probability that the chosen response is the better one, without gradient; scalar or
            [*batch]. Outside [0, 1] it corrects for known noise.
        beta: β of the link "square", where m is β times a log-ratio.

    Returns:
        Loss per pair.

    Raises:
        ValueError: for an unknown `link`, a non-floating margin, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> margin = jnp.array([-1.0, 0.0, 1.0])
        >>> print(np.asarray(preference.pair_loss(margin)).round(3), preference.pair_loss(margin, link="hinge"))
        [1.313 0.693 0.313] [2. 1. 0.]

    References:
        Tang et al., 2024, "Generalized Preference Optimization: A Unified Approach to Offline Alignment",
        arXiv:2402.05749.
    """
    check_choice("link", link, tuple(LINKS))
    (margin,) = floating(margin=margin)
    check_broadcast(margin=margin, label=label, beta=beta)
    label, beta = like(margin, label, beta)
    label = lax.stop_gradient(label)
    loss, reversed_loss = LINKS[link](margin, beta)
    return label * loss + (1 - label) * reversed_loss


def dpo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    reference_chosen_log_prob: Float[Array, "*#batch"],
    reference_rejected_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.1,
    rejected_beta: Scalar | None = None,
    link: str = "logistic",
    divergence: str = "reverse_kl",
    alpha: Scalar = 0.5,
    margin: Scalar = 0.0,
    label: Scalar = 1.0,
    sft_weight: Scalar = 0.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Direct preference optimization (DPO), general in divergence, link, label and margin.

    With ρ = log π − log π_ref and φ(ρ) = f′(e^ρ) − f′(1), the identity for the reverse KL,
    m = β·φ(ρ_w) − β_l·φ(ρ_l) − γ and L = p·ℓ(m) + (1 − p)·ℓ(−m) − sft_weight·log π(y_w), ℓ the link of
    `pair_loss`. The defaults are DPO, L = −log σ(β(ρ_w − ρ_l)).
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        reference_chosen_log_prob: log π_ref(y_w|x), over the same tokens; a constant.
        reference_rejected_log_prob: log π_ref(y_l|x); a constant.
        beta: strength β of the divergence; scalar or [*batch].
        rejected_beta: β_l of the rejected response; None for β.
        link: static; "logistic", "hinge", "square" (IPO) or "exponential".
        divergence: static; a name of `rlx.regularizers.divergence.f_derivative`.
        alpha: order of the divergence "alpha".
        margin: γ, by how much the chosen reward must be the larger; scalar or [*batch].
        label: p, the probability that the chosen response is the better one, without gradient; scalar or
            [*batch]. 1 − ε is conservative DPO.
        sft_weight: weight of the log-likelihood of the chosen response.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for an unknown `link` or `divergence`, a non-floating array, a non-boolean `where`, or
            unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> chosen, reference = jnp.array([-8.0, -10.0, -12.0]), jnp.full(3, -10.0)
        >>> print(np.asarray(preference.dpo(chosen, reference, reference, reference, beta=0.5)).round(3))
        [0.313 0.693 1.313]

    References:
        Rafailov et al., 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model",
        arXiv:2305.18290.
        Wang et al., 2023, "Beyond Reverse KL: Generalizing Direct Preference Optimization with Diverse
        Divergence Constraints", arXiv:2309.16240.
    """
    chosen, rejected, reference_chosen, reference_rejected = elements(
        chosen_log_prob=chosen_log_prob,
        rejected_log_prob=rejected_log_prob,
        reference_chosen_log_prob=reference_chosen_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        where=where,
    )
    rejected_beta = beta if rejected_beta is None else rejected_beta
    beta, rejected_beta, margin, label, sft_weight = _per_pair(
        chosen, where, beta=beta, rejected_beta=rejected_beta, margin=margin, label=label, sft_weight=sft_weight
    )
    chosen_reward = implicit_reward(chosen, reference_chosen, beta=beta, divergence=divergence, alpha=alpha)
    rejected_reward = implicit_reward(
        rejected, reference_rejected, beta=rejected_beta, divergence=divergence, alpha=alpha
    )
    loss = pair_loss(chosen_reward - rejected_reward - margin, link=link, label=label, beta=beta)
    return _kept(loss - sft_weight * chosen, where)


def ipo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    reference_chosen_log_prob: Float[Array, "*#batch"],
    reference_rejected_log_prob: Float[Array, "*#batch"],
    *,
    beta: Scalar = 0.1,
    chosen_length: Scalar = 1.0,
    rejected_length: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Identity preference optimization: the difference of the log-ratios is regressed on a finite gap.

    L = (ρ_w/|y_w| − ρ_l/|y_l| − 1/(2β))², with ρ = log π − log π_ref. Lengths of 1 give the loss of the paper,
    numbers of tokens the one behind its published results.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        reference_chosen_log_prob: log π_ref(y_w|x); a constant.
        reference_rejected_log_prob: log π_ref(y_l|x); a constant.
        beta: strength β of the divergence; the gap is 1/(2β).
        chosen_length: positive divisor |y_w| of the chosen log-ratio; scalar or [*batch].
        rejected_length: positive divisor |y_l| of the rejected log-ratio.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> from rlx.losses import preference
        >>> chosen, reference = jnp.array([-8.0, -6.0, -4.0]), jnp.full(3, -10.0)
        >>> print(preference.ipo(chosen, reference, reference, reference, beta=0.125))
        [4. 0. 4.]

    References:
        Azar et al., 2023, "A General Theoretical Paradigm to Understand Learning from Human Preferences",
        arXiv:2310.12036.
    """
    chosen, rejected, reference_chosen, reference_rejected = elements(
        chosen_log_prob=chosen_log_prob,
        rejected_log_prob=rejected_log_prob,
        reference_chosen_log_prob=reference_chosen_log_prob,
        reference_rejected_log_prob=reference_rejected_log_prob,
        where=where,
    )
    chosen_length, rejected_length = _per_pair(
        chosen, where, chosen_length=chosen_length, rejected_length=rejected_length
    )
    return dpo(
        chosen / chosen_length,
        rejected / rejected_length,
        reference_chosen / chosen_length,
        reference_rejected / rejected_length,
        beta=beta,
        link="square",
        where=where,
    )


def simpo(
    chosen_log_prob: Float[Array, "*#batch"],
    rejected_log_prob: Float[Array, "*#batch"],
    chosen_length: Scalar,
    rejected_length: Scalar,
    *,
    beta: Scalar = 2.0,
    margin: Scalar = 0.5,
    label: Scalar = 1.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Simple preference optimization: log-probability per token as the reward, and no reference.

    With m = β·(log π(y_w)/|y_w| − log π(y_l)/|y_l|) − γ, L = −p·log σ(m) − (1 − p)·log σ(−m). The official
    code gives γ/β instead of γ.

    Args:
        chosen_log_prob: log π(y_w|x), summed over the tokens of the response [*batch]; carries the gradient.
        rejected_log_prob: log π(y_l|x); carries the gradient.
        chosen_length: |y_w|, how many tokens the sum has; scalar or [*batch], positive.
        rejected_length: |y_l|, the same of the rejected response.
        beta: scale β of the reward.
        margin: γ, by how much the chosen reward must be the larger.
        label: p, the probability that the chosen response is the better one, without gradient.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating log-probability, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> chosen, rejected = jnp.array([-4.0, -8.0]), jnp.array([-4.0, -4.0])
        >>> print(np.asarray(preference.simpo(chosen, rejected, 4.0, jnp.array([4.0, 2.0]))).round(3))
        [0.974 0.974]

    References:
        Meng et al., 2024, "SimPO: Simple Preference Optimization with a Reference-Free Reward",
        arXiv:2405.14734.
        Zeng et al., 2025, "Boosting Tool Use of Large Language Models via Iterative Reinforced Fine-Tuning",
        arXiv:2501.09766 (β = 2.5, γ = 0.5, on pairs of single steps).
    """
    chosen, rejected = elements(chosen_log_prob=chosen_log_prob, rejected_log_prob=rejected_log_prob, where=where)
    chosen_length, rejected_length = _per_pair(
        chosen, where, chosen_length=chosen_length, rejected_length=rejected_length
    )
    no_reference = jnp.zeros((), chosen.dtype)
    return dpo(
        chosen / chosen_length,
        rejected / rejected_length,
        no_reference,
        no_reference,
        beta=beta,
        margin=margin,
        label=label,
        where=where,
    )


def denoising_dpo(
    chosen_error: Float[Array, "*#batch"],
    rejected_error: Float[Array, "*#batch"],
    reference_chosen_error: Float[Array, "*#batch"],
    reference_rejected_error: Float[Array, "*#batch"],
    *,
    beta: Scalar = 2000.0,
    where: Bool[Array, "*#batch"] | None = None,
) -> Float[Array, "*batch"]:
    """Diffusion-DPO: preference optimization of a diffusion or flow model on its denoising errors.

    L = −log σ(−β·[(e_w − e_w^ref) − (e_l − e_l^ref)]), which is `dpo` with log π = −e. Both models must see the
    same time and noise. Errors differ in their third digit and are multiplied by thousands: compute them in
    float32 at least.
    On a CPU the exponential and the logarithm of the link cost several times the memory traffic.

    Args:
        chosen_error: squared error e_w of the preferred sample under the model [*batch], such as
            `rlx.losses.generative.flow_matching_loss` with the noise that the sample was made from; carries the
            gradient.
        rejected_error: squared error e_l of the other sample; carries the gradient.
        reference_chosen_error: e_w under the frozen reference; a constant.
        reference_rejected_error: e_l under the frozen reference; a constant.
        beta: strength β of the divergence; scalar or [*batch], such as from
            `rlx.controllers.preference_beta`.
        where: boolean mask, True where a pair counts.

    Returns:
        Loss per pair, 0 where masked.

    Raises:
        ValueError: for a non-floating array, a non-boolean `where`, or unfitting shapes.

    Examples:
        >>> import jax.numpy as jnp
        >>> import numpy as np
        >>> from rlx.losses import preference
        >>> chosen_error, rejected_error = jnp.array([0.099, 0.101]), jnp.array([0.101, 0.099])
        >>> loss = preference.denoising_dpo(chosen_error, rejected_error, jnp.full(2, 0.1), jnp.full(2, 0.1))
        >>> print(np.asarray(loss).round(2))
        [0.02 4.02]

    References:
        Wallace et al., 2023, "Diffusion Model Alignment Using Direct Preference Optimization",
        arXiv:2311.12908.
        Lu et al., 2026, "Offline Preference Optimization for Rectified Flow with Noise-Tracked Pairs",
        arXiv:2605.09433.
    """
    chosen, rejected, reference_chosen, reference_rejected = elements(
        chosen_error=chosen_error,
        rejected_error=rejected_error,
        reference_chosen_error=reference_chosen_error,
        reference_rejected_error=reference_rejected_error,
        where=where,
    )
    return dpo(-chosen, -rejected, -reference_chosen, -reference_rejected, beta=beta, where=where)


def _per_pair(x: Array, where: Array | None, **options: Scalar) -> tuple[Array, ...]:
    """Options in the dtype of the data, scalar or one per pair, and harmless where masked."""
    check_broadcast(log_prob=x, **options, where=where)
    cast = like(x, *options.values())
    return cast if where is None else tuple(jnp.where(where, option, 1) for option in cast)


def _kept(loss: Array, where: Array | None) -> Array:
    return loss if where is None else jnp.where(where, loss, 0)
