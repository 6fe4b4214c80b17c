"""Offline methods: settings and slots of TD3 and SAC, and those that share no core.

Those of weighted cloning are in `rlx.algorithms.in_sample`.
"""

from rlx.algorithms.offline.a2pr import A2PRModels, a2pr
from rlx.algorithms.offline.bisimulation import LatentModels, bisimulation
from rlx.algorithms.offline.cql import cql
from rlx.algorithms.offline.decision_transformer import DecisionTransformerState, decision_transformer
from rlx.algorithms.offline.deterministic import prdc, rebrac, td3_bc
from rlx.algorithms.offline.ensembles import edac, sac_n
from rlx.algorithms.offline.normalized import with_normalized_observations
