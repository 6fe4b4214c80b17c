"""Losses of diffusion, flow-matching and variational policies, to be minimized; one value per sample."""

from rlx.losses.generative.denoising import denoising_loss, denoising_score_matching
from rlx.losses.generative.edm import edm_denoised_loss, edm_scalings, karras_sigmas
from rlx.losses.generative.flow import flow_matching_loss, interpolate
from rlx.losses.generative.guarded_ratio import normalized_log_ratio
from rlx.losses.generative.variational import conditional_vae
