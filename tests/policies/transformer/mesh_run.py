"""Loss and gradients of a model on one device and on eight: `python -m tests.policies.transformer.mesh_run FOLDER`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from rlx.policies.transformer import lora, model, partition
from rlx.policies.transformer.config import Config
from rlx.policies.transformer.scoring import token_log_prob

CONFIG = Config(
    24,
    16,
    24,
    num_layers=1,
    num_heads=8,
    num_key_value_heads=4,
    head_dim=4,
    tie_embeddings=False,
    attention_bias=True,
    attention_output_bias=True,
    mlp_bias=True,
    qk_norm=True,
)


def loss(params, adapters, tokens, where):
    statistics = token_log_prob(CONFIG, lora.attach(params, adapters), tokens, where=where, chunk=16)
    return -jnp.mean(statistics.log_prob + 0.1 * statistics.entropy)


@jax.jit
def make():
    """Parameters, adapters, tokens and mask."""
    params = model.init(jax.random.key(0), CONFIG)
    adapters = lora.init(jax.random.key(1), params, rank=2)
    # Norms, biases and ups start at constants, over which many an error would not be seen.
    noise = lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape)
    params, adapters = jax.tree.map(noise, (params, adapters))
    params["embedding"] *= 10
    tokens = jax.random.randint(jax.random.key(2), (8, 10), 0, CONFIG.vocab_size)
    return params, adapters, tokens, jnp.arange(10) >= jnp.arange(8)[:, None] // 2


def run(mesh: Mesh) -> dict[str, jax.Array]:
    params, adapters, tokens, where = make()
    place = lambda tree, specs: jax.device_put(tree, partition.shardings(mesh, specs))
    params = place(params, partition.param_specs(CONFIG, mesh))
    adapters = place(adapters, partition.param_specs(CONFIG, mesh, adapters))
    tokens, where = jax.device_put((tokens, where), NamedSharding(mesh, partition.BATCH))
    value, gradients = jax.jit(jax.value_and_grad(loss, (0, 1)))(params, adapters, tokens, where)
    some = params["layers"]["query"]["kernel"], params["layers"]["down"]["kernel"], params["embedding"][None]
    shards = np.array([leaf.addressable_shards[0].data.shape for leaf in some])
    return {"loss": value, "shards": shards} | {f"g{i}": leaf for i, leaf in enumerate(jax.tree.leaves(gradients))}


if __name__ == "__main__":
    for data, size in ((1, 1), (2, 4)):
        devices = np.array(jax.devices()[: data * size]).reshape(data, size)
        np.savez(f"{sys.argv[1]}/{data}x{size}.npz", **run(Mesh(devices, ("data", "model"))))
