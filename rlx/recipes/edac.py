"""EDAC wired up: `rlx.make_train("edac", dataset="hopper.hdf5", env="brax:hopper")`."""

from __future__ import annotations

import dataclasses

from rlx.recipes import offline, sac_n
from rlx.recipes.settings import NOT_NEGATIVE, setting


@dataclasses.dataclass(frozen=True)
class Config(sac_n.Config):
    """Configuration of an EDAC run: SAC-N whose critics are kept diverse."""

    eta: float = setting(
        1.0,
        "Weight of the critics' agreement on the direction of better actions; 0 is SAC-N.",
        within=NOT_NEGATIVE,
        swept=True,
    )


RECIPE = offline.recipe("edac", "EDAC", Config, sac_n.make_learner, "rlx.algorithms.edac:learner")
