"""Smoothness of functions and diversity of their gradients."""
