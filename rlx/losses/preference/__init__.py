"""Pairwise, pointwise and general-preference losses, to be minimized; one value per pair or response."""

from rlx.losses.preference.direct_nash import dno, margin_pairs, win_rate_reward
from rlx.losses.preference.group import group_alignment
from rlx.losses.preference.iterative_nash import inpo
from rlx.losses.preference.nash_md import geometric_mixture, nash_md_loss
from rlx.losses.preference.pairwise import denoising_dpo, dpo, implicit_reward, ipo, pair_loss, simpo
from rlx.losses.preference.pointwise import kto, sppo
from rlx.losses.preference.regularized import rpo, vpo
from rlx.losses.preference.robust import debiased_label, robust_dpo
from rlx.losses.preference.semantics import SEMANTICS, semantic_preference_loss
from rlx.losses.preference.semi_policy import seppo
from rlx.losses.preference.token_reward import contrastive_token_reward, rrpo, token_reward_regularizer, treg
from rlx.losses.preference.visits import visit_label
