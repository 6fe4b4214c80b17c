"""DPO of a small language model, from pairs that a verifier tells apart; and the same pairs under another loss.

python -m experiments.dpo_from_pairs
"""

import jax
import numpy as np

import rlx
from rlx.losses import preference


def hinge(chosen_log_prob, rejected_log_prob, reference_chosen_log_prob, reference_rejected_log_prob):
    """A loss of one's own: SLiC's hinge on the difference of the implicit rewards. Argument names say what it sees."""
    chosen = chosen_log_prob - reference_chosen_log_prob
    rejected = rejected_log_prob - reference_rejected_log_prob
    return jax.nn.relu(1.0 - 0.5 * (chosen - rejected))


def main(num_seeds: int = 2, **settings) -> dict[str, np.ndarray]:
    """Warm up on worked sortings, sample pairs, learn from them, and print how many held-out pairs are told apart.

    Args:
        num_seeds: how many seeds, side by side in one program.
        **settings: fields of DPO's config: see `rlx train dpo --help`.

    Returns:
        Share of a batch's pairs that the policy tells apart, `[seed, update]`, of DPO and of the hinge.
    """
    usual = dict(task="sorting", warmup_steps=200, total_steps=4_096)
    keys, found = jax.random.split(jax.random.key(0), num_seeds), {}
    for name, loss in {"DPO": preference.dpo, "hinge": hinge}.items():
        train = rlx.make_train("dpo", **usual | settings, method=loss)
        _, metrics = jax.jit(jax.vmap(train))(keys)
        found[name] = np.asarray(metrics["pair_accuracy"])
        first, last = found[name][:, 0].mean(), found[name][:, -5:].mean()
        print(f"{name}: {first:.0%} of a batch's pairs told apart at first, {last:.0%} at the end")
    return found


if __name__ == "__main__":
    main()
