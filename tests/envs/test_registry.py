import subprocess
import sys

import pytest

from rlx import envs


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
