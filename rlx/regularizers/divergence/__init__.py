"""Divergences between distributions, exact or estimated from samples, in nats."""

from rlx.regularizers.divergence.closed_form import kl_categorical, kl_gaussian
from rlx.regularizers.divergence.estimators import kl_estimate
