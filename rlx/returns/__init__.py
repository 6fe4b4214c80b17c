"""Return and advantage estimators, along time and along a group of rollouts. Results are constants."""

from rlx.returns.group import group_relative
from rlx.returns.temporal import gae
