"""Losses by what they train. Every loss is per element and to be minimized."""

from rlx.losses import generative, imitation, model, policy, preference, value
