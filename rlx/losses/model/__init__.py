"""Dynamics models and predictive representations; losses to be minimized, one value per element."""
