"""rlx: functional reinforcement learning in JAX.

A function library of losses, regularizers, estimators and controllers as pure functions; learners built of them
(``rlx.algorithms``); and compiled training (``rlx.training``).
"""

__version__ = "0.1.0"
