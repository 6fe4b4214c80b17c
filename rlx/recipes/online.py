"""What recipes of learners from a dataset have for going on in an environment: settings, and the source of both."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rlx.recipes.settings import COUNT, FRACTION, SettingError, setting
from rlx.recipes.wiring import Config

if TYPE_CHECKING:
    from rlx.algorithms import Learner
    from rlx.recipes.offline import Loaded


@dataclasses.dataclass(frozen=True)
class Online(Config):
    """Environment steps after the gradient steps on a dataset, in the same run."""

    steps_name: ClassVar[str] = "gradient_steps"

    online_steps: int = setting(
        0,
        "Environment steps of each seed after the total steps on the dataset: the policy acts, and goes on learning "
        "from the dataset and from what it experiences. 0 for none.",
        group="scale",
        within="[0, 1e9]",
    )
    num_envs: int = setting(1, "Parallel environments of each seed in the online steps.", group="scale", within=COUNT)
    updates_per_online_step: float = setting(
        1.0, "Gradient steps for each environment step in the online steps.", group="scale", within="(0, 1000]"
    )
    mixing_ratio: float | None = setting(
        0.5,
        "Share of each minibatch that comes from the dataset in the online steps; None takes the dataset's share of "
        "all transitions there are.",
        group="data",
        within=FRACTION,
    )

    sequence_length: ClassVar[int | None] = None
    """Steps that the learner acts on at a time; None for one observation."""

    def __post_init__(self):
        super().__post_init__()
        if not self.online_steps:
            return
        if self.sequence_length is not None:
            raise SettingError(
                "online_steps", "must be 0 for a learner of sequences: only single transitions are mixed"
            )
        acted = self.steps_per_update / self.updates_per_online_step
        unroll_length = round(acted / self.num_envs)
        if unroll_length < 1 or not math.isclose(unroll_length * self.num_envs, acted):
            raise SettingError(
                "num_envs",
                f"must divide the {acted:g} environment steps of one update ({self.steps_per_update} gradient steps at "
                f"updates_per_online_step={self.updates_per_online_step:g}), got {self.num_envs}",
            )

    @property
    def unroll_length(self) -> int:
        """Steps of each environment in one update of the online steps."""
        return round(self.steps_per_update / self.updates_per_online_step / self.num_envs)

    @property
    def pretraining_updates(self) -> int:
        """Updates from the dataset alone."""
        return max(1, math.ceil(self.total_steps / self.steps_per_update))

    @property
    def online_updates(self) -> int:
        """Updates that act first."""
        updates = self.online_steps * self.updates_per_online_step / self.steps_per_update
        return math.ceil(round(updates, 6))

    @property
    def num_updates(self) -> int:
        """Updates needed for `total_steps` and `online_steps`."""
        return sum(self.phases)

    @property
    def phases(self) -> tuple[int, ...]:
        """Updates from the dataset alone, and those that act first."""
        return (self.pretraining_updates, self.online_updates) if self.online_steps else (self.pretraining_updates,)

    @property
    def asked_steps(self) -> int:
        """Gradient steps of the updates that were asked for."""
        return self.total_steps + self.online_updates * self.steps_per_update

    @property
    def num_envs_per_seed(self) -> int:
        """Environments that a seed steps side by side; 0 where it steps none."""
        return self.num_envs if self.online_steps else 0


def make_source(config: Online, environment: Any, learner: Learner, data: Loaded, sampler: Callable):
    """Minibatches of the dataset, and then of the dataset and of what the policy experiences.

    Args:
        config: the config.
        environment: what is acted in.
        learner: what acts.
        data: the dataset.
        sampler: of the dataset, as `rlx.training.sources.mixed` takes it.
    """
    from rlx.training import sources

    return sources.mixed(
        data,
        learner,
        environment,
        pretraining_steps=config.pretraining_updates,
        capacity=config.online_updates * config.unroll_length,
        num_rows=data.dataset.num_rows,
        num_envs=config.num_envs,
        unroll_length=config.unroll_length,
        mixing_ratio=config.mixing_ratio,
        batch_size=config.batch_size,
        updates_per_step=config.steps_per_update,
        return_discount=config.return_discount,
        sampler=sampler,
        as_row=partial(as_row, data),
    )


def as_row(data: Loaded, transition: Any):
    """What was experienced as the prepared dataset would hold it: normalized, its rewards scaled."""
    scale, shift = data.reward_units
    seen = {name: getattr(transition, name) for name in ("observation", "next_observation")}
    if data.normalization is not None:
        mean, deviation = data.normalization
        seen = {name: (observation - mean) / deviation for name, observation in seen.items()}
    return transition._replace(reward=scale * transition.reward + shift, **seen)


def notes(config: Online) -> list[str]:
    """What a person should know before a run: how many environment steps follow."""
    if not config.online_steps:
        return []
    share = "its own share" if config.mixing_ratio is None else f"{100 * config.mixing_ratio:.0f} %"
    steps = config.online_updates * config.unroll_length * config.num_envs
    return [
        f"the last {config.online_updates * config.steps_per_update:,} gradient steps follow {steps:,} environment "
        f"steps in {config.env}; of each minibatch {share} then comes from the dataset"
    ]
