"""Rank, orthonormality, bisimulation and information of features."""
