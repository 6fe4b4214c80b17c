"""Losses of diffusion, flow-matching and variational policies, to be minimized; one value per sample."""
