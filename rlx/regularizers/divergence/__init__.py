"""Divergences between distributions, exact or estimated from samples, in nats."""

from rlx.regularizers.divergence.closed_form import kl_categorical, kl_gaussian
from rlx.regularizers.divergence.constraints import squared_hinge
from rlx.regularizers.divergence.estimators import kl_estimate
from rlx.regularizers.divergence.generators import f_conjugate, f_derivative, f_generator
from rlx.regularizers.divergence.jensen_shannon import generalized_jsd
