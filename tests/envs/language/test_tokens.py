"""Solutions verify, other right answers do, wrong ones do not, and nothing is both trained and tested on."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlx.envs import language
from rlx.envs.language.protocol import END, PAD, is_held_out

pytestmark = pytest.mark.long(minutes=0.6)

COUNT = 200
VARIANTS = [
    ("addition", {}),
    ("addition", {"digits": 2, "carries": False}),
    ("modular_arithmetic", {}),
    ("modular_arithmetic", {"steps": False, "modulus": 5}),
    ("sorting", {}),
    ("brackets", {}),
    ("countdown", {}),
    ("path", {}),
    ("tool", {}),
]
UNIQUE = ("addition", "modular_arithmetic", "sorting", "brackets")


class Drawn:
    """Problems of a task, their solutions, and its verifier over all of them."""

    def __init__(self, name, options):
        self.task = task = language.make(name, **options)
        keys = jax.random.split(jax.random.key(0), COUNT)
        self.problems, self.solutions = jax.jit(jax.vmap(lambda key: (p := task.sample(key), task.solve(p))))(keys)
        self.verify = jax.jit(jax.vmap(task.verify))

    def written(self, token):
        """Where a response counts: up to the last token that is no padding."""
        return (
            np.cumsum(np.asarray(token)[:, ::-1] != PAD, axis=1)[:, ::-1] > 0
            if self.task.num_turns == 1
            else (np.asarray(token) != PAD)
        )


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: f"{variant[0]}-{len(variant[1])}")
def drawn(request):
    return Drawn(*request.param)


def test_solutions_are_right_and_prompts_are_padded_on_the_left(drawn):
    task, prompt = drawn.task, np.asarray(drawn.problems.prompt)
    assert prompt.shape[1] == task.prompt_length and drawn.solutions.shape[1] == task.response_length
    where = np.asarray(drawn.problems.where)
    np.testing.assert_array_equal(where, prompt != PAD)
    assert (np.diff(where.astype(int), axis=1) >= 0).all()
    verdict = drawn.verify(drawn.problems, drawn.solutions, drawn.written(drawn.solutions))
    assert np.asarray(verdict.correct).all()
    np.testing.assert_array_equal(verdict.first_error, task.response_length)
    assert (np.asarray(verdict.answer) >= 0).all()
    assert ((np.asarray(verdict.step) >= 0) == drawn.written(drawn.solutions)).all()
    assert max(np.max(prompt), np.max(drawn.solutions)) < len(task.vocabulary)
    text = task.decode(prompt[0])
    assert task.decode(task.encode(text)) == text


def test_corrupted_solutions_are_refused_where_there_is_one_right_answer(drawn):
    task = drawn.task
    solution = np.asarray(drawn.solutions)
    own = drawn.written(solution)
    rng = np.random.default_rng(0)
    # One token of each response becomes another one that is neither padding nor the end.
    place = np.array([rng.choice(np.flatnonzero(row)) for row in own])
    rows = np.arange(COUNT)
    old = solution[rows, place]
    new = 2 + (old - 2 + rng.integers(1, len(task.vocabulary) - 2, COUNT)) % (len(task.vocabulary) - 2)
    corrupted = solution.copy()
    corrupted[rows, place] = new
    verdict = drawn.verify(drawn.problems, jnp.asarray(corrupted), jnp.asarray(own))
    error = np.asarray(verdict.first_error)
    if task.name in UNIQUE:
        assert (error <= place).all()
        step = np.asarray(drawn.verify(drawn.problems, drawn.solutions, jnp.asarray(own)).step)
        np.testing.assert_array_equal(step[rows, error], step[rows, place])
    # Only what spoils the answer makes a response wrong: a slip on the way to it does not.
    wrong = ~np.asarray(verdict.correct)
    assert (wrong <= (error < task.response_length)).all()
    assert wrong.mean() > 0.2
    unended = np.where(solution == END, PAD, solution)
    assert not drawn.verify(drawn.problems, jnp.asarray(unended), jnp.asarray(unended != PAD)).correct.any()


@pytest.mark.slow
def test_splits_share_nothing_and_hold_what_they_should(drawn):
    task = drawn.task
    keys = jax.random.split(jax.random.key(1), 400)
    held_out = jax.vmap(is_held_out)
    draw = lambda key: (task.sample(key, "test").prompt, task.generate(key).prompt)
    test, either = jax.jit(jax.vmap(draw))(keys)
    assert not held_out(drawn.problems.prompt).any() and held_out(test).all()
    share = held_out(either).mean()
    assert 0.02 < share < 0.3


@pytest.mark.slow
def test_addition_is_taught_and_judged_column_by_column():
    task = language.make("addition", digits=2)
    problem = task.generate(jax.random.key(0))._replace(content=(jnp.int32(95), jnp.int32(8)))
    assert task.decode(task.solve(problem)) == "3101;103<end>"
    padded = lambda text: jnp.asarray((task.encode(text) + [PAD] * task.response_length)[: task.response_length])
    judge = lambda text: task.verify(problem, padded(text), padded(text) != PAD)
    assert judge("3101;103<end>").first_error == task.response_length
    # A slip in the second column, and the right result all the same.
    slip = judge("3111;103<end>")
    assert slip.correct and slip.first_error == 2
    np.testing.assert_array_equal(slip.step[:9], [0, 0, 1, 1, 2, 2, 2, 2, 2])
    assert not judge("3101;0103<end>").correct
    assert not judge("3101103<end>").correct and judge("3101103<end>").first_error == 4


@pytest.mark.slow
def test_countdown_agrees_with_an_evaluation_in_python():
    task = language.make("countdown")
    problem = task.sample(jax.random.key(3))
    given = sorted(int(task.vocabulary[t]) for t in np.asarray(problem.prompt)[:3])
    target = int(problem.content[3])

    def value_of(words):
        stack, left = [], list(given)
        for word in words:
            if word in "+-*":
                if len(stack) < 2:
                    return None
                y, x = stack.pop(), stack.pop()
                stack.append({"+": x + y, "-": x - y, "*": x * y}[word])
            elif int(word) in left:
                left.remove(int(word))
                stack.append(int(word))
            else:
                return None
        return stack[0] if len(stack) == 1 else None

    words = [*map(str, {*given, 7}), "+", "-", "*"]
    tried = [list(w) for n in (1, 3, 5) for w in itertools.product(words, repeat=n)]
    rng = np.random.default_rng(0)
    tried = [tried[i] for i in rng.choice(len(tried), 3000, replace=False)]
    token = {**{word: task.vocabulary.index(word) for word in "+-*"}, **{str(i): 6 + i for i in range(100)}}
    rows = np.array([([token[w] for w in words] + [END] + [PAD] * 6)[:6] for words in tried])
    verdict = jax.jit(jax.vmap(task.verify, in_axes=(None, 0, 0)))(problem, jnp.asarray(rows), jnp.asarray(rows != PAD))
    values = [value_of(words) for words in tried]
    np.testing.assert_array_equal(verdict.correct, [value == target for value in values])
    np.testing.assert_array_equal(verdict.answer, [-1 if value is None else value + 10_000 for value in values])


@pytest.mark.slow
def test_a_detour_arrives_and_a_shortest_way_is_the_solution():
    task = language.make("path", size=3, walls=0.0)
    problem = task.generate(jax.random.key(0))._replace(content=(jnp.zeros(9, bool), jnp.int32(0), jnp.int32(8)))
    assert len(task.decode(task.solve(problem)).removesuffix("<end>")) == 4
    padded = lambda text: jnp.asarray((task.encode(text) + [PAD] * task.response_length)[: task.response_length])
    judge = lambda text: task.verify(problem, padded(text), padded(text) != PAD)
    assert judge("RDLDRR<end>").correct
    assert not judge("RRRDD<end>").correct and judge("RRRDD<end>").first_error == 2
    assert not judge("RRD<end>").correct and judge("RRD<end>").first_error == 3
    walled = problem._replace(content=(jnp.zeros(9, bool).at[1].set(True), *problem.content[1:]))
    assert not task.verify(walled, padded("RRDD<end>"), padded("RRDD<end>") != PAD).correct


@pytest.mark.slow
def test_a_tool_replies_to_single_keys_only():
    task = language.make("tool", keys=3, terms=2)
    problem = task.generate(jax.random.key(0))._replace(content=(jnp.array([4, 9, 2]), jnp.array([1, 2])))
    reply = lambda turn: task.decode(task.reply(problem, (t := jnp.asarray(task.encode(turn))), t != PAD, 0)[0])
    assert [reply("b<end><pad>"), reply("bc<end>"), reply("4<end><pad>")] == ["9;", "?;", "?;"]
    assert task.decode(task.solve(problem)) == "b<end>9;c<end>2;11<end>"
    judge = lambda text: task.verify(problem, (t := jnp.asarray(task.encode(text))), t != PAD)
    other_order = judge("c<end><pad>2;b<end><pad>9;11<end>")
    assert other_order.correct and other_order.first_error == task.response_length
    guessed = judge("b<end><pad>9;b<end><pad>9;11<end>")
    assert guessed.correct and guessed.first_error == 5
    assert judge("b<end><pad>9;c<end><pad>2;12<end>").first_error == 10


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adition", {}, "no task 'adition'; did you mean addition"),
        ("addition", {"digit": 3}, "addition has no option 'digit'; did you mean digits"),
        ("addition", {"digits": 9}, "digits must lie between 1 and 8, got 9"),
        ("modular_arithmetic", {"modulus": 1}, "modulus must lie between 2 and 1000, got 1"),
        ("sorting", {"length": 1}, "length must lie between 2 and 1000, got 1"),
        ("brackets", {"kinds": 5}, "kinds must lie between 1 and 4, got 5"),
        ("countdown", {"limit": 10}, "limit must be at least twice largest"),
        ("path", {"walls": 0.9}, "walls must lie between 0 and 0.6, got 0.9"),
        ("tool", {"keys": 27}, "keys must lie between 2 and 26, got 27"),
        ("addition", {"digits": "abc"}, "addition: digits must be a whole number, got 'abc'"),
        ("addition", {"digits": True}, "digits must be a whole number, got True"),
        ("addition", {"carries": 7}, "carries must be True or False, got 7"),
        ("addition", {"forgetful": float("nan")}, "forgetful must be a finite number, got nan"),
        ("countdown", {"limit": 10**9}, "at most 10000, got limit=1000000000"),
        ("path", {"size": 10**6}, "size must lie between 2 and 100, got 1000000"),
        ("sorting", {"length": 10**9}, "length must lie between 2 and 1000, got 1000000000"),
    ],
)
def test_what_cannot_be_is_said(name, options, message):
    with pytest.raises(ValueError, match=message):
        language.make(name, **options)


@pytest.mark.slow
def test_forgetful_solutions_of_additions_lose_every_carry():
    task = language.make("addition", digits=2, forgetful=1.0)
    problems = jax.vmap(lambda key: task.sample(key, "train"))(jax.random.split(jax.random.key(0), 64))
    solved = jax.vmap(task.solve)(problems)
    verdict = jax.vmap(task.verify)(problems, solved, solved != task.pad_token)
    a, b = (np.asarray(x) for x in problems.content)
    carries = (a % 10 + b % 10 > 9) | (a // 10 + b // 10 > 9)
    np.testing.assert_array_equal(verdict.correct, ~carries)
    forgotten = (a % 10 + b % 10) % 10 + 10 * ((a // 10 + b // 10) % 10)
    for row, result in zip(np.asarray(solved), forgotten):
        assert "".join(task.vocabulary[token] for token in row if token > END).endswith(f"0;{result}")
    half = language.make("addition", digits=2, forgetful=0.5)
    solved = jax.vmap(half.solve)(problems)
    share = jax.vmap(half.verify)(problems, solved, solved != half.pad_token).correct[carries].mean()
    assert 0.2 < share < 0.8
    with pytest.raises(ValueError, match="forgetful must lie between 0 and 1, got 2"):
        language.make("addition", forgetful=2)
