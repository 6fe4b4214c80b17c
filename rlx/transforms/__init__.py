"""Edits of gradients, updates and parameters; optax gradient transformations where they have a step."""

from rlx.transforms.averaging import average_parameters, soup
from rlx.transforms.projection import orthogonalize
