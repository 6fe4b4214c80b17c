"""Cal-QL wired up: `rlx.make_train("cal_ql", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from rlx.recipes import cql, offline
from rlx.recipes.presets.offline import CAL_QL
from rlx.recipes.settings import setting


@dataclasses.dataclass(frozen=True)
class Config(cql.Config):
    """Configuration of a Cal-QL run: CQL that pushes no value below the data's return-to-go."""

    calibrated: ClassVar[bool] = True
    continues_returns: ClassVar[bool] = True

    hidden_sizes: tuple[int, ...] = offline.other_default(cql.Config, "hidden_sizes", (256, 256))
    learning_rate: float = offline.other_default(cql.Config, "learning_rate", 1e-4)
    # Returns-to-go are computed before anything is compiled, with one discount: it cannot be swept.
    discount: float = setting(0.99, "Discount γ of values and of the returns that they are held to.", within="[0, 1)")
    weight: float = offline.other_default(cql.Config, "weight", 5.0)
    max_target_backup: bool = offline.other_default(cql.Config, "max_target_backup", True)

    @property
    def return_discount(self) -> float:
        """Discount of the returns-to-go that values are calibrated by."""
        return self.discount


RECIPE = offline.recipe(
    "cal_ql",
    "Cal-QL",
    Config,
    cql.make_learner,
    "rlx.algorithms.cql:learner",
    presets=CAL_QL,
    examples=(
        "rlx train cal_ql --dataset hopper.hdf5 --seeds 4",
        "rlx train cal_ql --dataset hopper.hdf5 --total-steps 2e5 --online-steps 1e5",
    ),
    about="Values keep to the scale of the data's returns, for the policy to go on learning online (--online-steps). A "
    "truncated episode of the data counts as going on for ever with its mean reward. " + cql.COST,
)
