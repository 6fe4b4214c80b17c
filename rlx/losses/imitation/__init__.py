"""Behavior cloning and its relatives, to be minimized; one value per element."""

from rlx.losses.imitation.cloning import behavior_cloning
from rlx.losses.imitation.implicit_reward import f_sft
from rlx.losses.imitation.privileged import privileged_distillation
from rlx.losses.imitation.self_evolution import self_evolution_target
from rlx.losses.imitation.shaped import shaped_cross_entropy
