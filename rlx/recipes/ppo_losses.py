"""PPO with the policy loss of one paper or another, everything else equal, from one compilation.

The method of a run is a number, by which `lax.switch` chooses its loss: the physics, the networks and the critic
are compiled once for all of them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from rlx.recipes import ppo
from rlx.recipes.settings import FRACTION, NOT_NEGATIVE, contains, setting


def _kl_penalty(log_prob, behavior_log_prob, advantage, *, coefficient=1.0):
    from rlx.losses.policy import clipped_surrogate
    from rlx.regularizers.divergence import kl_estimate

    surrogate = clipped_surrogate(log_prob, behavior_log_prob, advantage, clip_low=1.0, clip_high=float("inf"))
    # KL(behavior ‖ policy), whose samples are the behavior's, is the k3 estimate with the roles exchanged.
    log_ratio = log_prob - behavior_log_prob
    return surrogate + coefficient * kl_estimate(-log_ratio, 0.0 * log_ratio)


RATIO = ("log_prob", "behavior_log_prob", "advantage")


class PolicyLoss(NamedTuple):
    """A policy loss of the comparison.

    Attributes:
        loss: the function; a name is one of `rlx.losses.policy`.
        source: where it comes from.
        options: its settings, where they are not the function's defaults.
        arguments: what it takes of a minibatch.
    """

    loss: str | Callable
    source: str
    options: Mapping[str, float] = {}
    arguments: tuple[str, ...] = RATIO


LOSSES = {
    "clipped_surrogate": PolicyLoss("clipped_surrogate", "PPO (Schulman et al., 2017)"),
    "clip_higher": PolicyLoss("clipped_surrogate", "DAPO's upper clip (Yu et al., 2025)", {"clip_high": 0.28}),
    "dual_clip": PolicyLoss("clipped_surrogate", "dual clip (Ye et al., 2019)", {"dual_clip": 3.0}),
    "unclipped": PolicyLoss(
        "clipped_surrogate",
        "importance-weighted policy gradient, no clip",
        {"clip_low": 1.0, "clip_high": float("inf")},
    ),
    "kl_penalty": PolicyLoss(_kl_penalty, "PPO's KL penalty, fixed coefficient (Schulman et al., 2017)"),
    "decoupled_clip": PolicyLoss(
        "decoupled_clip",
        "PPO-EWMA (Hilton et al., 2021)",
        arguments=("log_prob", "behavior_log_prob", "proximal_log_prob", "advantage"),
    ),
    "hazard_modulated": PolicyLoss("hazard_modulated_surrogate", "MHPO (Wang et al., 2026)"),
    "ratio_variance": PolicyLoss("ratio_variance", "R²VPO, fixed multiplier (Luo et al., 2026)", {"coefficient": 1.0}),
    "clip_cov": PolicyLoss("clip_cov", "Clip-Cov (Cui et al., 2025)", arguments=("key", *RATIO)),
    "kl_cov": PolicyLoss("kl_cov", "KL-Cov (Cui et al., 2025)"),
    "balanced_clip": PolicyLoss("balanced_surrogate", "BAPO (Xi et al., 2025)"),
    "advantage_regression": PolicyLoss("advantage_regression", "regression of the ratio on the advantage (2025)"),
}
"""The policy losses by name."""


@dataclasses.dataclass(frozen=True)
class Config(ppo.Config):
    """PPO's config and the policy losses that are compared."""

    methods: str = setting(
        "clipped_surrogate,decoupled_clip,hazard_modulated,ratio_variance",
        "Policy losses, by commas; LOSS@NAME=VALUE@NAME=VALUE sets a loss's numbers. The first is the baseline.",
    )
    anchor_decay: float = setting(
        0.9, "Decay of the anchor policy's moving average, which decoupled_clip uses.", within=FRACTION
    )
    # The command line compares them all, so nobody chooses one there.
    method: int = setting(0, "Which of the policy losses, by its number.", group="", within=NOT_NEGATIVE, swept=True)

    @property
    def labels(self) -> tuple[str, ...]:
        """The methods as they were given."""
        return tuple(word.strip() for word in self.methods.split(",") if word.strip())

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """What the values of swept hyperparameters stand for."""
        return {"method": self.labels}


RANGES = {"fraction": FRACTION, "lower": "[-inf, inf]", "upper": "[-inf, inf]", "coefficient": NOT_NEGATIVE}
"""Where a loss's numbers lie, by their name, unless it is from 0 to infinity, as of a bound that is not in use."""


def loss_of(label: str) -> Callable[[Any], Any]:
    """The per-sample loss of a minibatch that `LOSS@NAME=VALUE` names.

    Raises:
        ValueError: no such method, no such number of it, or not of that form.
    """
    name, *numbers = label.split("@")
    if name not in LOSSES:
        raise ValueError(f"methods must be among {', '.join(LOSSES)}; got {name!r}")
    method = LOSSES[name]
    loss = _library(method.loss) if isinstance(method.loss, str) else method.loss
    # A default that is text or a flag is a choice of another kind.
    known = {p.name for p in inspect.signature(loss).parameters.values() if type(p.default) is float}
    options = dict(method.options)
    for word in numbers:
        key, _, value = word.partition("=")
        if key not in known | options.keys():
            raise ValueError(f"{name} has no number {key!r} to set; it has {', '.join(sorted(known | options.keys()))}")
        try:
            options[key] = float(value)
        except ValueError:
            raise ValueError(f"methods take numbers as LOSS@NAME=VALUE, got {label!r}") from None
        if not contains(within := RANGES.get(key, "[0, inf]"), options[key]):
            raise ValueError(f"{key} of {name} must be in {within}, got {value}")
    return lambda batch: loss(*(getattr(batch, argument) for argument in method.arguments), **options)


def _library(name: str) -> Callable:
    from rlx.losses import policy

    return getattr(policy, name)


def make_learner(config: Config, environment: Any, **slots: Any):
    """PPO with the policy loss that `config.method` numbers, which may be traced."""
    import jax
    import jax.numpy as jnp

    from rlx import controllers

    index, losses = jnp.asarray(config.method, jnp.int32), [loss_of(label) for label in config.labels]
    needed = {argument for label in config.labels for argument in LOSSES[label.split("@")[0]].arguments}
    chosen: dict[str, Any] = {"surrogate": partial(jax.lax.switch, index, losses)}
    if "proximal_log_prob" in needed:
        chosen["anchor"] = controllers.ewma_params(decay=config.anchor_decay)
    return ppo.make_learner(config, environment, **(chosen | slots))


def methods() -> Mapping[str, PolicyLoss]:
    """The policy losses by name."""
    return LOSSES


RECIPE = ppo.RECIPE._replace(
    name="ppo_losses",
    title="PPO with one policy loss after another",
    config=Config,
    make_learner=make_learner,
    command="rlx ablate ppo",
    methods=methods,
    examples=(
        "rlx ablate ppo --methods clipped_surrogate,hazard_modulated,ratio_variance --seeds 8",
        "rlx ablate ppo --env gymnax:CartPole-v1 --methods clipped_surrogate,clipped_surrogate@clip_high=0.4",
        "rlx ablate ppo --sweep learning_rate=1e-4,3e-4,1e-3",
    ),
)
