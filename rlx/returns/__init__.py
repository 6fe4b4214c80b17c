"""Return and advantage estimators, along time and along a group of rollouts. Results are constants."""

from rlx.returns.amplification import amplified
from rlx.returns.beta import beta_normalized
from rlx.returns.confidence import confidence_penalty
from rlx.returns.consistency import global_local
from rlx.returns.group import group_relative
from rlx.returns.target_distribution import target_distribution_advantage
from rlx.returns.temporal import gae
from rlx.returns.to_go import return_to_go
from rlx.returns.uncertainty import entropy_modulated
