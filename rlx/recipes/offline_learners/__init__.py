"""Every offline learner wired up: its settings, as its paper or the code that is commonly compared with has them."""

from rlx.recipes.offline import Wired
from rlx.recipes.offline_learners.deterministic import A2PR, PRDC, TD3BC, ReBRAC
from rlx.recipes.offline_learners.in_sample import AWAC, BC, IQL, ODICE
from rlx.recipes.offline_learners.sequences import DecisionTransformer
from rlx.recipes.offline_learners.stochastic import CQL, EDAC, SACN, CalQL

__all__ = ["LEARNERS"]

LEARNERS = {
    kind.algorithm: Wired(kind, kind.sweepable)
    for kind in (BC, TD3BC, ReBRAC, A2PR, PRDC, IQL, AWAC, ODICE, CQL, CalQL, SACN, EDAC, DecisionTransformer)
}
"""Every learner by its name on the command line."""
