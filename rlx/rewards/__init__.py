"""Shaping, normalizing and modelling rewards."""
