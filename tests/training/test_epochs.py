"""Training prompts of a list come all once, in an order of the seed and the pass, before any comes again."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rlx.algorithms import dpo, grpo, sft
from rlx.envs.language.text import from_texts
from rlx.losses import preference
from rlx.policies import transformer
from rlx.recipes.language_methods import make_method
from rlx.training import checkpoints, sources
from rlx.training.program import make_program
from rlx.training.sources import epochs
from rlx.training.sources.pairs import Pairs
from tests.sorting_policy import CONFIG as SORTING_CONFIG
from tests.sorting_policy import TASK as SORTING
from tests.text_policy import CONFIG, PAIRS, tokenizer

TEST, TRAIN = PAIRS[:3], PAIRS[3:10]


@pytest.mark.parametrize("size, count", [(7, 3), (7, 7), (5, 12), (1, 3), (6, 1)])
def test_passes_hold_each_place_once(size, count):
    """Whatever number is taken at a time, also one larger than the list."""
    take = jax.jit(lambda state: epochs.take(state, size, count))
    state, taken = epochs.begin(jax.random.key(3)), []
    for _ in range(6 * size):
        index, state = take(state)
        taken.extend(np.asarray(index).tolist())
        assert float(state.done(size)) == pytest.approx(len(taken) / size)
    passes = np.reshape(taken[: len(taken) // size * size], (-1, size))
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.broadcast_to(np.arange(size), passes.shape))
    if size > 4:
        assert len(np.unique(passes, axis=0)) > len(passes) / 2
        # Each place comes first about as often as any other.
        firsts = jax.vmap(lambda key: epochs.take(epochs.begin(key), size, 1)[0][0])(
            jax.random.split(jax.random.key(0), 999)
        )
        assert np.abs(np.bincount(firsts, minlength=size) / 999 - 1 / size).max() < 0.05


@pytest.fixture(scope="module")
def task():
    return from_texts(
        TRAIN, tokenizer(), end_token="<end>", prompt_length=4, response_length=3, test=TEST, reward=reward
    )


def reward(prompt, response, answer):
    return 1.0


def logged(learner):
    """A learner that changes nothing and tells which prompts it was given."""

    def update(state, batch, key):
        return state._replace(update=state.update + 1), {"prompt": batch.prompt[:, 0]}

    return learner._replace(update=update)


def names(task, prompts):
    """Which of the training problems each prompt is."""
    known = {
        tuple(np.asarray(task.problem(place).prompt).tolist()): place for place in range(task.num_problems("train"))
    }
    return [known[tuple(prompt)] for prompt in np.asarray(prompts).reshape(-1, np.shape(prompts)[-1]).tolist()]


def grpo_program(task, **options):
    learner = logged(grpo.learner(CONFIG, optax.sgd(0.0), params=partial(transformer.init, config=CONFIG)))
    return make_program(sources.responses(task, CONFIG, group_size=2, **options), learner)


@pytest.mark.slow
def test_a_run_asks_all_prompts_before_one_comes_again_and_goes_on_so(task, tmp_path):
    """Side by side with another seed, and resumed from a checkpoint."""
    program = grpo_program(task, num_prompts=2)
    keys = jax.random.split(jax.random.key(0), 2)
    step = jax.jit(jax.vmap(program.step))
    states, told, done = [jax.jit(jax.vmap(program.init))(keys)], [], []
    for _ in range(9):
        state, metrics = step(states[-1])
        states.append(state)
        told.append(np.asarray(metrics["prompt"]))
        done.append(np.asarray(metrics["epoch"]))
    first, second = (names(task, [of[seed] for of in told]) for seed in range(2))
    for seen in (first, second):
        np.testing.assert_array_equal(np.sort(np.reshape(seen[:14], (2, 7))), [range(7)] * 2)
    assert first != second
    np.testing.assert_allclose(np.array(done)[:, 0], 2 * np.arange(1, 10) / 7, rtol=1e-6)

    manager = checkpoints.open_manager(tmp_path)
    checkpoints.save(manager, 4, states[4])
    checkpoints.close(manager)
    resumed, _ = checkpoints.restore(tmp_path, jax.eval_shape(lambda: states[4]))
    for later in told[4:]:
        resumed, metrics = step(resumed)
        np.testing.assert_array_equal(np.asarray(metrics["prompt"]), later)


def test_rounds_of_dynamic_sampling_go_on_in_the_order(task):
    """A reward that is the same for all leaves nothing to learn, so that each update samples all its rounds."""
    method = make_method("grpo")._replace(max_rounds=2)
    program = grpo_program(task, num_prompts=2, method=method)
    _, metrics = jax.jit(program.step)(program.init(jax.random.key(1)))
    assert float(metrics["epoch"]) == pytest.approx(4 / 7)


def test_solutions_are_imitated_in_passes(task):
    source = sources.solutions(task, batch_size=2, updates_per_step=3)
    (state, _), told = source.init(jax.random.key(0), None), []
    collect = jax.jit(lambda state, key: source.collect(state, None, key))
    draw = jax.jit(lambda state, part, key: source.draw(state, part, key).prompt)
    for number in range(4):
        state, parts, metrics = collect(state, jax.random.key(number))
        told.extend(names(task, [draw(state, part, jax.random.key(9)) for part in parts]))
    np.testing.assert_array_equal(np.sort(np.reshape(told[:21], (3, 7))), [range(7)] * 3)
    assert float(metrics["epoch"]) == pytest.approx(24 / 7)
    # The program gives each update its own part.
    added = lambda state, batch, key: (state, {"sum": batch.prompt.sum()})
    program = make_program(source, sft.learner(CONFIG, optax.sgd(0.0))._replace(update=added))
    begun = program.init(jax.random.key(5))
    _, parts, _ = source.collect(begun.source, None, jax.random.key(0))
    seen = [float(draw(begun.source, part, jax.random.key(0)).sum()) for part in parts]
    _, metrics = jax.jit(program.step)(begun)
    assert float(metrics["sum"]) == pytest.approx(np.mean(seen))


def given_pairs(count):
    token = jnp.broadcast_to(jnp.array([[2, 1], [3, 1]]), (count, 2, 2))
    prompt = jnp.arange(count)[:, None] + jnp.array([[3, 2]])
    better = jnp.broadcast_to(jnp.array([1.0, 0.0]), (count, 2))
    return Pairs(prompt, prompt > 0, token, token > 0, token > 0, better, better)


def test_pairs_of_a_file_come_in_passes():
    pairs = given_pairs(5)
    source = sources.pairs(
        SORTING, SORTING_CONFIG, preference.simpo, given=(pairs, pairs), batch_size=2, updates_per_step=2
    )
    learner = dpo.learner(SORTING_CONFIG, optax.sgd(0.0), preference.simpo)
    state, _ = source.init(jax.random.key(0), learner.init(jax.random.key(0), source.example(jax.random.key(0))))
    taken = []
    for number in range(5):
        state, parts, metrics = source.collect(state, None, jax.random.key(number))
        taken.extend(int(x) - 3 for part in parts for x in source.draw(state, part, jax.random.key(0)).prompt[:, 0, 0])
    np.testing.assert_array_equal(np.sort(np.reshape(taken, (4, 5))), [range(5)] * 4)
    assert float(metrics["epoch"]) == 4 and metrics["pair_share"] == 1
