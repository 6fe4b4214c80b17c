"""Algorithms and bounds with exact, finite mathematics."""
