"""Algorithms and bounds with exact, finite mathematics."""

from rlx.tabular.iterative_nash import inpo_step
from rlx.tabular.nash import nash_md_step, regularized_nash
from rlx.tabular.stability import soft_policy_stability_bound
from rlx.tabular.tree_search import length_penalized_prior, puct
