"""Losses by what they train. Every loss is per element and to be minimized."""

from rlx.losses import policy, value

__all__ = ["policy", "value"]
