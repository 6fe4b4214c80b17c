"""Policies, critics and torsos as `init`/`apply` functions, and their action distributions."""

from rlx.policies.anchors import seek_anchor, transductive_product
from rlx.policies.decision_transformer import DecisionTransformer, decision_transformer
from rlx.policies.diffusion import edm_sample, guidance_schedule
from rlx.policies.distributions import ActionDistribution, beta, categorical, gaussian, mode
from rlx.policies.encoders import EncodedCritic, encoded_critic
from rlx.policies.filters import filtered_log_prob
from rlx.policies.initializers import orthogonal
from rlx.policies.latents import best_latent
from rlx.policies.networks import (
    ACTIVATIONS,
    MLP,
    Network,
    action_critic,
    beta_policy,
    categorical_policy,
    critic,
    deterministic,
    ensemble,
    from_flax,
    gaussian_policy,
    policy,
    torso,
)
from rlx.policies.perturbation import perturb
from rlx.policies.q_networks import q_network
from rlx.policies.recurrent import CELLS, Recurrent, encoded, gru, side_by_side, ssm
from rlx.policies.score_correction import score_corrected_action
from rlx.policies.smoothing import target_policy_smoothing
from rlx.policies.state_space import selective_scan
from rlx.policies.tasks import sample_task, task_embedding
from rlx.policies.value_extraction import refine_actions, rerank_actions, sample_by_value
from rlx.policies.variational import ActionAutoencoder, action_autoencoder
from rlx.policies.views import seeing, vector_view

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "MLP",
    "ActionAutoencoder",
    "ActionDistribution",
    "DecisionTransformer",
    "EncodedCritic",
    "Network",
    "Recurrent",
    "action_autoencoder",
    "action_critic",
    "best_latent",
    "beta",
    "beta_policy",
    "categorical",
    "categorical_policy",
    "critic",
    "decision_transformer",
    "deterministic",
    "edm_sample",
    "encoded",
    "encoded_critic",
    "ensemble",
    "filtered_log_prob",
    "from_flax",
    "gaussian",
    "gaussian_policy",
    "guidance_schedule",
    "gru",
    "mode",
    "orthogonal",
    "perturb",
    "policy",
    "q_network",
    "refine_actions",
    "rerank_actions",
    "sample_by_value",
    "sample_task",
    "score_corrected_action",
    "seek_anchor",
    "selective_scan",
    "side_by_side",
    "ssm",
    "target_policy_smoothing",
    "task_embedding",
    "torso",
    "transductive_product",
]
