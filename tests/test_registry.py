"""Names: what is registered is found, what is not is refused with the closest name, and strangers can join."""

import configparser
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from oracle import counting_dream

import dreamgym
from dreamgym.errors import MissingExtra, UnknownName
from dreamgym.hub import save_dream
from dreamgym.registry import BRIDGES, DREAMS, MODELS, PLANNERS, WRAPPERS, Registry, find_dream, import_target


@pytest.mark.parametrize("registry", [MODELS, PLANNERS, WRAPPERS], ids=lambda registry: registry.kind)
def test_everything_registered_can_be_imported(registry):
    assert len(registry) > 0
    for name in registry:
        assert callable(registry.load(name))


@pytest.mark.filterwarnings("default")  # of the libraries, as they are imported
@pytest.mark.parametrize("name", BRIDGES)
def test_a_bridge_loads_or_names_the_extra_that_it_needs(name):
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg")
    try:
        assert callable(BRIDGES.load(name))
    except MissingExtra as error:
        extra = re.search(r'needs .+: pip install "dreamgym\[(.+)\]"$', str(error))
        assert extra
        assert extra[1] in setup["options.extras_require"]


def test_an_unknown_name_is_refused_with_all_names_and_the_closest():
    planners = Registry("planner")
    with pytest.raises(UnknownName, match=r"^unknown planner 'cem'; available: none\.$"):
        planners.load("cem")
    planners.register("cem", "json:dumps")
    planners.register("mppi", "json:loads")
    with pytest.raises(UnknownName, match=r"^unknown planner 'mpi'; available: cem, mppi. Did you mean 'mppi'\?$"):
        planners.load("mpi")
    with pytest.raises(UnknownName, match=r"^unknown planner 'xyz'; available: cem, mppi\.$"):
        planners["xyz"]


def test_a_registry_is_a_mapping_that_imports_nothing_until_asked():
    planners = Registry("planner")
    planners.register("b", "module_that_does_not_exist:Thing")
    planners.register("a", "json:dumps")
    assert list(planners) == ["a", "b"]
    assert len(planners) == 2
    assert "b" in planners
    assert "c" not in planners
    assert planners.get("c") is None
    assert planners.load("a")([1]) == "[1]"
    with pytest.raises(ModuleNotFoundError, match="module_that_does_not_exist"):
        planners.load("b")


def test_a_later_registration_replaces_an_earlier_one():
    planners = Registry("planner")
    planners.register("a", "json:loads")
    planners.register("a", "json:dumps")
    assert planners.load("a") is import_target("json:dumps")


def test_an_unknown_dream_is_refused_with_the_closest_id(tmp_path):
    with pytest.raises(UnknownName, match=r"^unknown dream 'nothing'; available: "):
        find_dream("nothing")


STRANGER = """
    from dreamgym import WorldModel, register_bridge, register_dream, register_model, register_wrapper
    from dreamgym.core.wrapper import ModelWrapper
    from oracle import CountingWorld

    class MyWorld(CountingWorld):
        pass

    class Double(ModelWrapper):
        def __init__(self, model, times=2.0):
            super().__init__(model)
            self.times = times

        def step(self, *args):
            from dataclasses import replace
            out = self.model.step(*args)
            return replace(out, reward=self.times * out.reward)

    class Bridge:
        pass

    register_model("my_world", "stranger:MyWorld")
    register_wrapper("double", "stranger:Double")
    register_bridge("mylib", "stranger:Bridge")
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """Another package that registers a model, a wrapper, a bridge and a dream of its own."""
    (tmp_path / "stranger.py").write_text(textwrap.dedent(STRANGER))
    monkeypatch.syspath_prepend(tmp_path)
    import stranger

    dream = counting_dream(lengths=(0,))
    model = stranger.MyWorld(dream.model.config, dream.model.observation_space, dream.model.action_space)
    folder = save_dream(tmp_path / "dream", model, dream.starts, {"real": "CartPole-v1"})
    dreamgym.register_dream(
        "StrangerDream-v0", variants={"only": folder}, real="CartPole-v1", max_episode_steps=4, observation="features"
    )
    yield stranger
    del gym.registry["StrangerDream-v0"], DREAMS["StrangerDream-v0"], sys.modules["stranger"]
    for registry, name in ((MODELS, "my_world"), (WRAPPERS, "double"), (BRIDGES, "mylib")):
        del registry._targets[name]


def test_another_package_registers_its_own_with_four_calls(stranger):
    assert BRIDGES.load("mylib") is stranger.Bridge
    assert isinstance(dreamgym.load("StrangerDream-v0").model, stranger.MyWorld)
    env = gym.make("StrangerDream-v0", wrap=[("double", {"times": 3.0})])
    env.reset(seed=0)
    assert env.step(1)[1] == pytest.approx(3.3)
    assert env.unwrapped.view.observation == "features"
    envs = gym.make_vec("StrangerDream-v0", num_envs=2, wrap=[("double", {})])
    envs.reset(seed=0)
    steps = [envs.step(np.ones(2, int)) for _ in range(4)]
    assert steps[0][1].tolist() == pytest.approx([2.2, 2.2])
    assert steps[3][3].all()
    with pytest.raises(UnknownName, match="unknown dream 'StrangerDraem-v0'; .*Did you mean 'StrangerDream-v0'"):
        dreamgym.load("StrangerDraem-v0")
    assert find_dream("StrangerDream-v0").max_episode_steps == 4


def test_importing_dreamgym_registers_its_names_and_imports_no_torch():
    code = "import sys, dreamgym, gymnasium; print('torch' in sys.modules, 'DreamEnv-v0' in gymnasium.registry)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


def test_every_public_name_can_be_had_and_no_other():
    for name in dreamgym.__all__:
        assert getattr(dreamgym, name) is not None
        assert name in dir(dreamgym)
    with pytest.raises(AttributeError, match="module 'dreamgym' has no attribute 'DreamEnvv'"):
        dreamgym.DreamEnvv  # noqa: B018
