"""Regularizers by what they keep in check. Every penalty is per element."""

from rlx.regularizers import divergence, entropy

__all__ = ["divergence", "entropy"]
