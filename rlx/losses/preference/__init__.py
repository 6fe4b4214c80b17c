"""Pairwise, pointwise and general-preference losses, to be minimized; one value per pair or response."""
