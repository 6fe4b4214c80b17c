"""Critic losses, to be minimized; one value per element."""

from rlx.losses.value.regression import clipped_value, squared_error
