"""Edits of gradients, updates and parameters; optax gradient transformations where they have a step."""
