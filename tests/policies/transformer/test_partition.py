"""A model over eight devices gives the loss and the gradients of one device."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P

from rlx.policies.transformer import lora, model, partition
from rlx.policies.transformer.config import Config
from rlx.policies.transformer.pretrained import load_pretrained

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"


def devices(data, model_axis):
    return AbstractMesh((data, model_axis), ("data", "model"))


@pytest.mark.slow
def test_eight_devices_give_the_loss_and_the_gradients_of_one(tmp_path):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "tests.policies.transformer.mesh_run", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    one, eight = np.load(tmp_path / "1x1.npz"), np.load(tmp_path / "2x4.npz")
    # A quarter of query's outputs, of down's inputs and of the vocabulary.
    assert one["shards"].tolist() == [[1, 16, 32], [1, 24, 16], [1, 24, 16]]
    assert eight["shards"].tolist() == [[1, 16, 8], [1, 6, 16], [1, 6, 16]]
    for name in set(one.files) - {"shards"}:
        size = np.abs(one[name]).max()
        assert size > 0, name
        np.testing.assert_allclose(eight[name], one[name], rtol=0, atol=1e-5 * max(size, 1), err_msg=name)


def test_rules_split_two_matrices_in_a_row_along_what_is_between_them():
    config = Config(24, 16, 24, num_heads=4, num_key_value_heads=2, head_dim=4, attention_output_bias=True)
    specs = partition.param_specs(config, devices(4, 2))
    layers = specs["layers"]
    assert specs["embedding"] == P("model", None)
    assert layers["key"]["kernel"] == layers["gate"]["kernel"] == P(None, None, "model")
    assert layers["output"] == {"kernel": P(None, "model", None), "bias": P()}
    assert layers["down"]["kernel"] == P(None, "model", None)
    assert specs["final_norm"] == layers["mlp_norm"] == P()
    # A vocabulary that does not divide leaves the width of the embedding.
    odd = Config(25, 16, 24, num_heads=4, num_key_value_heads=2, head_dim=4)
    assert partition.param_specs(odd, devices(4, 2))["embedding"] == P(None, "model")

    params = jax.eval_shape(lambda: model.init(jax.random.key(0), config))
    adapters = jax.eval_shape(lambda params: lora.init(jax.random.key(0), params, rank=2), params)
    specs = partition.param_specs(config, devices(4, 2), adapters)["layers"]
    assert specs["up"] == {"down": P(), "up": P(None, None, "model")}
    assert specs["down"] == {"down": P(None, "model", None), "up": P()}


def test_meshes_that_do_not_fit_are_refused():
    config = Config(24, 16, 24, num_heads=8, num_key_value_heads=4, head_dim=4, tie_embeddings=False)
    with pytest.raises(ValueError, match=r"mesh must have the axes data and model, lacks \['model'\]"):
        partition.param_specs(config, Mesh(np.array(jax.devices()[:1]), ("data",)))
    with pytest.raises(ValueError, match="axis model of 8 devices must divide num_key_value_heads=4"):
        partition.param_specs(config, devices(1, 8))
    odd = Config(25, 16, 24, num_heads=4, num_key_value_heads=2, head_dim=4, tie_embeddings=False)
    with pytest.raises(ValueError, match=r"must divide axis 1 of unembedding/kernel \(16, 25\)"):
        partition.param_specs(odd, devices(1, 2))


def test_models_are_loaded_onto_a_mesh():
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("data", "model"))
    config, params = load_pretrained(GOLDEN / "llama", mesh=mesh)
    expected = partition.shardings(mesh, partition.param_specs(config, mesh))
    assert jax.tree.map(lambda leaf: leaf.sharding, params) == expected
    jax.tree.map(np.testing.assert_array_equal, params, load_pretrained(GOLDEN / "llama")[1])
