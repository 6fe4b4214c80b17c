"""Offline methods as settings and slots of TD3 and SAC; those of weighted cloning are in `rlx.algorithms.in_sample`."""

from rlx.algorithms.offline.a2pr import A2PRModels, a2pr
from rlx.algorithms.offline.cql import cql
from rlx.algorithms.offline.deterministic import prdc, rebrac, td3_bc
from rlx.algorithms.offline.ensembles import edac, sac_n
from rlx.algorithms.offline.normalized import with_normalized_observations
