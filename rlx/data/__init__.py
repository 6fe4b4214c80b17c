"""Replay, datasets, sampling and retrieval."""
