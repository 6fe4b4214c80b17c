"""Behavior cloning and its relatives, to be minimized; one value per element."""
