"""Smoothness of functions and diversity of their gradients."""

from rlx.regularizers.smoothness.ensemble import ensemble_gradient_diversity
