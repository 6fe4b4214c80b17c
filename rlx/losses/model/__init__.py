"""Dynamics models and predictive representations; losses to be minimized, one value per element."""

from rlx.losses.model.latent_td import td_latent_prediction
from rlx.losses.model.successor_measure import implied_reward, successor_measure
