"""Regularizers by what they hold back."""

from rlx.regularizers import behavior, divergence, entropy, representation, smoothness
