"""Several networks of one kind, side by side."""

from __future__ import annotations

import jax

from rlx.policies.networks import Network


def ensemble(network: Network, num: int = 2) -> Network:
    """A network whose outputs get a leading axis ``[ensemble]``, its members differing by their initialization.

    Every parameter has that leading axis too, so that ``apply`` on a part of them is that part of the ensemble.

    Args:
      network: one member; ``apply`` gives arrays.
      num: number of members.
    """
    return Network(
        init=lambda key, *inputs: jax.vmap(lambda one: network.init(one, *inputs))(jax.random.split(key, num)),
        apply=lambda params, *inputs: jax.vmap(lambda one: network.apply(one, *inputs))(params),
    )
