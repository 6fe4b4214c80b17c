import subprocess
import sys

import jax
import numpy as np
import pytest

from rlx import envs
from rlx.envs import registry
from rlx.envs.registry import is_spec
from tests.envs.rollouts import check_promises, rollout


def test_importing_and_listing_imports_no_simulator():
    heavy = {"jax", "gymnasium", "brax", "mujoco", "mujoco_playground", "gymnax"}
    program = f"import sys; from rlx import envs; envs.names(); print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_names_are_those_of_the_suites_in_order():
    assert envs.suites() == ["brax", "playground", "gymnax", "gym", "rlx"]
    assert envs.names("brax")[0] == "brax:ant"
    assert envs.names() == [name for suite in envs.suites() for name in envs.names(suite)]
    assert len(set(envs.names())) == len(envs.names())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brax:inverted_pendulm", "did you mean brax:inverted_pendulum or brax:inverted_double_pendulum"),
        ("brax:Ant", "did you mean brax:ant"),
        ("brx:ant", "no suite 'brx' in 'brx:ant'; did you mean brax"),
        ("halfchetah", "not of the form suite:task; did you mean brax:halfcheetah"),
        ("gymnax:cartpole", "did you mean gymnax:CartPole-v1"),
        ("rlx:zzz", "choose from rlx:bandit, rlx:chain"),
        ("gym:HalfCheetah-v55", "did you mean HalfCheetah-v5"),
        ("", "suites are brax, playground"),
        ("json:loads", r"no suite 'json' in 'json:loads'; .*a function of your own .*: --env json:loads"),
    ],
)
def test_an_unknown_name_gets_one_line_with_the_nearest_right_ones(name, message):
    with pytest.raises(envs.UnknownEnvironment, match=message) as error:
        envs.make(name)
    assert isinstance(error.value, ValueError) and "\n" not in str(error.value)


def test_an_unknown_suite_cannot_be_listed():
    with pytest.raises(envs.UnknownEnvironment, match="no suite 'brx'; did you mean brax"):
        envs.names("brx")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rlx:pendulum", {"gravty": 1.0}, "rlx:pendulum has no option 'gravty'; did you mean gravity?"),
        ("rlx:chain", {"length": 1}, "length must be at least 2, got 1"),
        (
            "brax:ant",
            {"backend": "bullet"},
            "backend must be one of generalized, positional, spring, mjx; got 'bullet'",
        ),
        (
            "brax:ant",
            {"healthy_zrange": 1},
            "brax:ant has no option 'healthy_zrange'; did you mean healthy_z_range",
        ),
        ("gymnax:CartPole-v1", {"gravty": 1.0}, "did you mean gravity"),
        ("playground:CartpoleBalance", {"ctrl_dtt": 1.0}, "did you mean ctrl_dt"),
        ("playground:CartpoleBalance", {"impl": "cuda"}, "impl must be one of jax, warp; got 'cuda'"),
        ("gym:Pendulum-v1", {"gravty": 1.0}, "Gymnasium cannot make gym:Pendulum-v1"),
        ("rlx:pendulum", {"max_episode_steps": -1}, "max_episode_steps must be a positive integer, or None"),
    ],
)
def test_a_wrong_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        envs.make(name, **options)


def test_the_limit_is_the_suites_own_unless_given():
    assert envs.make("rlx:pendulum").max_episode_steps == 200
    assert envs.make("rlx:pendulum", max_episode_steps=7).max_episode_steps == 7
    assert envs.make("rlx:pendulum", max_episode_steps=None).max_episode_steps is None


def test_a_missing_simulator_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "rlx.envs.adapters.brax", None)
    with pytest.raises(ImportError, match="brax:ant needs `pip install brax`"):
        envs.make("brax:ant")


OWN = """
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from rlx import envs
from rlx.envs.episodes import Task, Outcome

NUMBER = 3


def walk():
    def reset(key):
        x = jax.random.normal(key)
        return x, x[None]

    def step(x, action, key):
        x = x + action[0]
        return Outcome(x, x[None], -jnp.abs(x), jnp.abs(x) > 9, jnp.zeros((), bool), {})

    line = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    return Task("mine:walk", line, gymnasium.spaces.Box(-1, 1, (1,), np.float32), reset, step, max_episode_steps=6)


def memory():
    return envs.with_history(envs.make("rlx:pendulum"), 2)


class Passing:
    \"\"\"Everything by `__getattr__`, which is an `Environment` as good as any.\"\"\"

    def __init__(self):
        self.inner = envs.make("rlx:chain")

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Half:
    name = "mine:half"

    def reset(self, key): ...


def sized(size):
    return walk()


def number():
    return NUMBER


def broken():
    raise KeyError("a bug of the user's")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, which holds the user's modules and is not where Python looks for modules."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "own_tasks.py").write_text(OWN)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "inner.py").write_text("from own_tasks import walk")
    (tmp_path / "needy.py").write_text("import a_module_that_does_not_exist")
    (tmp_path / "brax.py").write_text("raise AssertionError('a name of a suite is never a module')")
    yield tmp_path
    for name in ("own_tasks", "own_package", "own_package.inner", "needy"):
        sys.modules.pop(name, None)


def test_a_function_of_ones_own_makes_an_environment(folder):
    env = envs.from_spec("own_tasks:walk")
    assert isinstance(env, envs.Environment) and (env.name, env.max_episode_steps) == ("mine:walk", 6)
    run = rollout(env, seeds=2, envs=3, steps=14)
    check_promises(env, run)
    assert run.step.truncated.any()
    longer = envs.from_spec("own_package.inner:walk", max_episode_steps=2, action_repeat=3)
    assert (longer.max_episode_steps, longer.action_repeat) == (2, 3)


@pytest.mark.parametrize(("spec", "name"), [("own_tasks:memory", "rlx:pendulum"), ("own_tasks:Passing", "rlx:chain")])
def test_a_function_may_return_an_environment(folder, spec, name):
    env = envs.from_spec(spec)
    assert env.name == name
    state, observation = env.reset(jax.random.key(0))
    _, step = env.step(state, env.action_space.sample(), jax.random.key(1))
    assert jax.tree.map(np.shape, step.observation) == jax.tree.map(np.shape, observation)
    for settings in ({"max_episode_steps": 3}, {"action_repeat": 2}):
        with pytest.raises(ValueError, match=f"{spec} returned an Environment, whose episodes are its own"):
            envs.from_spec(spec, **settings)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("own_task:walk", "no module 'own_task' for 'own_task:walk', neither installed nor in .*, and no suite"),
        ("brx:ant", "no module 'brx' for 'brx:ant', .* and no suite 'brx'; did you mean brax"),
        ("own_package.outer:walk", "no module 'own_package.outer' for"),
        ("own_tasks.deeper:walk", "no module 'own_tasks.deeper' for"),
        ("own_tasks:wolk", "module 'own_tasks' has no function 'wolk'; did you mean walk"),
        ("own_package:walk", "module 'own_package' has no function 'walk'$"),
        ("own_tasks:NUMBER", "own_tasks:NUMBER is of type int; it must be a function that returns a Task"),
        ("own_tasks:sized", "own_tasks:sized is called without arguments: missing a required argument: 'size'"),
        (
            "own_tasks:number",
            "own_tasks:number returned 3, which is no Task and .* has also name, observation_space",
        ),
        ("own_tasks:Half", r"returned <own_tasks.Half object.* has also observation_space, .*host, step, render\)"),
        ("own tasks:walk", "no suite 'own tasks'"),
        ("own_tasks", "not of the form suite:task"),
        ("brax:Ant", "did you mean brax:ant"),
    ],
)
def test_a_wrong_function_gets_one_line(folder, spec, message):
    with pytest.raises(envs.UnknownEnvironment, match=message) as error:
        envs.from_spec(spec)
    assert isinstance(error.value, ValueError) and "\n" not in str(error.value)


def test_what_goes_wrong_inside_the_users_code_keeps_its_traceback(folder):
    with pytest.raises(KeyError, match="a bug of the user's"):
        envs.from_spec("own_tasks:broken")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_does_not_exist"):
        envs.from_spec("needy:walk")


def test_a_function_takes_no_options_and_a_name_takes_its_own(folder):
    with pytest.raises(ValueError, match="own_tasks:walk has no option 'gravity'; it takes none"):
        envs.from_spec("own_tasks:walk", gravity=1.0)
    named = envs.from_spec("rlx:pendulum", gravity=1.0, max_episode_steps=7)
    assert (named.name, named.max_episode_steps) == ("rlx:pendulum", 7)


def test_make_and_names_of_suites_import_no_module_of_the_user(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    with pytest.raises(envs.UnknownEnvironment, match="--env own_tasks:walk"):
        envs.make("own_tasks:walk")
    assert "own_tasks" not in sys.modules
    for suite in envs.suites():
        assert not is_spec(f"{suite}:walk")
        if suite != "gym":  # whose registry is open
            with pytest.raises(envs.UnknownEnvironment, match=f"no environment '{suite}:walk'"):
                envs.from_spec(f"{suite}:walk")
    assert is_spec("own_tasks:walk")


def test_only_what_whoever_runs_the_program_names_may_be_imported(monkeypatch):
    monkeypatch.setattr(registry, "_TRUSTED", set())
    for text in ("my.rewards:exact", "posix.system", "questions.jsonl@reward=my.rewards:exact"):
        with pytest.raises(envs.UntrustedCode, match="code of your own"):
            envs.check_trusted(text, "--reward my.rewards:exact")
    envs.trust("questions.jsonl@threshold=1@reward='my.rewards:exact'", "brax:ant")
    envs.check_trusted("my.rewards:exact", "")
    assert list(registry._TRUSTED) == ["my.rewards:exact"]


def test_a_name_like_none_of_many_gets_the_nearest_and_no_list():
    many = [f"environment{number}" for number in range(60)]
    assert registry.nearest("../../etc/passwd", many).startswith("the nearest of 60 is environment")
    assert registry.nearest("zzz", ["a", "b"]) == "choose from a, b"
