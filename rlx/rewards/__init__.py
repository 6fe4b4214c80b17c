"""Shaping, normalizing and modeling rewards."""

from rlx.rewards.combination import combine_scores
from rlx.rewards.correction import self_correction
from rlx.rewards.diversity import embedding_novelty, gated_bonus, unique_feature_rate
from rlx.rewards.kl import kl_shaped
from rlx.rewards.length import history_length
from rlx.rewards.mixtures import effective_reward, format_mixture, partial_credit
from rlx.rewards.preference_labels import preference_reward, relabel
from rlx.rewards.progress import improvement
from rlx.rewards.ranking import discriminative_reward_loss, ranking_reward_loss
from rlx.rewards.reinforced_token import reinforced_token_reward
from rlx.rewards.selection import knockout
from rlx.rewards.spans import span_to_token
