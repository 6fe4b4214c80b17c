"""Critic losses, to be minimized; one value per element."""

from rlx.losses.value.asymmetric import expectile
from rlx.losses.value.bernoulli import bernoulli_value
from rlx.losses.value.conservative import conservative_q
from rlx.losses.value.dice import DiceValue, dice_value
from rlx.losses.value.hybrid import hybrid_value
from rlx.losses.value.pessimism import ensemble_pessimism
from rlx.losses.value.regression import clipped_value, squared_error
from rlx.losses.value.temporal_difference import ensemble_target, squared_td
