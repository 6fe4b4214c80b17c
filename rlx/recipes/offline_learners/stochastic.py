"""Settings of the learners that are SAC with pessimistic critics."""

from __future__ import annotations

import dataclasses

from rlx.recipes.offline_learners import common
from rlx.recipes.offline_learners.common import ActorCritic


@dataclasses.dataclass(frozen=True)
class CQL(ActorCritic):
    """Conservative Q-learning."""

    algorithm = "cql"
    sweepable = (*ActorCritic.sweepable, "weight", "gap_temperature")
    calibrated = False

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    learning_rate: float = 3e-5
    """Adam's step size for the policy, and for the temperature."""
    weight: float = 10.0
    """Weight of the gap between the soft maximum over actions and the data's action."""
    num_actions: int = 10
    """Actions of each of three kinds in the soft maximum."""
    gap_temperature: float = 1.0
    """Temperature of the soft maximum."""
    gap_target: float | None = None
    """Train a multiplier of the weight until the gap is this; None fixes the weight."""
    max_target_backup: bool = False
    """Targets take the best of several next actions."""
    backup_entropy: bool = False
    """Targets hold the entropy of the next action."""

    def learner(self, space, source, total_steps):
        import math

        from rlx.algorithms import offline

        return offline.cql(
            common.gaussian(
                space,
                self.hidden_sizes,
                squash="tanh",
                state_dependent_std=True,
                initial_std=math.exp(-1),
                log_std_bounds=(-20.0, 2.0),
            ),
            self.critics(),
            *common.adam(self.learning_rate, self.critic_learning_rate, self.learning_rate),
            weight=self.weight,
            num_actions=self.num_actions,
            gap_temperature=self.gap_temperature,
            gap_target=self.gap_target,
            calibrated=self.calibrated,
            max_target_backup=self.max_target_backup,
            backup_entropy=self.backup_entropy,
            **self.settings,
            **common.bounds(space),
        )


@dataclasses.dataclass(frozen=True)
class CalQL(CQL):
    """Calibrated Q-learning: CQL that pushes no value below the data's return-to-go."""

    algorithm = "cal_ql"
    # Returns-to-go are computed before anything is compiled, with one discount.
    sweepable = tuple(name for name in CQL.sweepable if name != "discount")
    calibrated = True

    hidden_sizes: tuple[int, ...] = (256, 256)
    """Hidden layers of the policy."""
    learning_rate: float = 1e-4
    """Adam's step size for the policy, and for the temperature."""
    weight: float = 5.0
    """Weight of the gap between the soft maximum over actions and the data's action."""
    max_target_backup: bool = True
    """Targets take the best of several next actions."""

    @property
    def return_discount(self) -> float:
        """Discount of the returns-to-go that values are calibrated by."""
        return self.discount


@dataclasses.dataclass(frozen=True)
class SACN(ActorCritic):
    """SAC-N: SAC with many critics."""

    algorithm = "sac_n"

    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    """Hidden layers of the policy."""
    num_critics: int = 10
    """Critics, the smallest value of which counts; up to 500 for SAC-N."""
    total_steps: int = 3_000_000
    """Gradient steps of each seed (rounded up to whole updates)."""
    normalize_observation: bool = False
    """By mean and standard deviation over the dataset."""

    @property
    def critic_options(self) -> dict:
        return {"num": self.num_critics, "hidden_bias": 0.1, "output_bound": 3e-3}

    def parts(self, space) -> tuple:
        """Policy, critics and their optimizers."""
        policy = common.gaussian(
            space,
            self.hidden_sizes,
            squash="tanh",
            state_dependent_std=True,
            log_std_bounds=(-5.0, 2.0),
            hidden_bias=0.1,
            output_bound=1e-3,
        )
        return policy, self.critics(), *common.adam(self.learning_rate, self.critic_learning_rate, self.learning_rate)

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.sac_n(*self.parts(space), **self.settings)


@dataclasses.dataclass(frozen=True)
class EDAC(SACN):
    """EDAC: SAC-N whose critics are kept diverse."""

    algorithm = "edac"
    sweepable = (*SACN.sweepable, "eta")

    eta: float = 1.0
    """Weight of the critics' agreement on the direction of better actions; 0 is SAC-N."""

    def learner(self, space, source, total_steps):
        from rlx.algorithms import offline

        return offline.edac(*self.parts(space), eta=self.eta, **self.settings)
