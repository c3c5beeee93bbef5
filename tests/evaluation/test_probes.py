"""Probes come from the module of the real twin."""

import numpy as np
import pytest
from gymnasium import spaces
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym import load
from dreamgym.core.policy import load_policy
from dreamgym.evaluation.policies import parse_action
from dreamgym.evaluation.probes import probe_policies, probes
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import ship_policy
from dreamgym.real import car_racing, dodge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny")


def test_probes_are_those_of_the_twin_chance_and_the_dreams_own_policy(folder, tmp_path):
    expected = {"nothing": "constant:0", "always left": "constant:1", "random": "random"}
    assert probe_policies(load(folder)) == expected
    shipping = save_tiny_dream(tmp_path / "shipping")
    ship_policy(shipping, load_policy(save_tiny_policy(tmp_path / "policy.safetensors", shipping)))
    assert probe_policies(load(shipping)) == {**expected, "shipped": "shipped"}


def test_a_probe_scores_what_its_policy_scores(folder):
    scored = probes(folder, episodes=2, seed=5)
    assert scored["always left"] == evaluate(folder, "constant:1", episodes=2, seed=5)


def test_every_probe_is_an_action_of_its_env():
    steering = spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))
    cars = [parse_action(spec, steering, "Car").tolist() for spec in car_racing.PROBES.values()]
    assert np.allclose(cars, [[0, 0, 0], [0, 1, 0], [0.1, 0.3, 0]])  # in the bounds of the space, as float32
    ships = [int(parse_action(spec, dodge.DodgeEnv().action_space, "Dodge")) for spec in dodge.PROBES.values()]
    assert ships == [0, 1]
