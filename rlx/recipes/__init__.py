"""Recipes: algorithms wired up, from a config to a program that trains."""
