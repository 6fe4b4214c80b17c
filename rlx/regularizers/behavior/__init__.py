"""Staying near data: support, dataset and density constraints."""
