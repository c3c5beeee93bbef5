"""A text names what acts; a text that names nothing says what it may be."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from oracle import LEVER, counting_dream
from tiny import save_tiny_dream, save_tiny_policy

from dreamgym import load
from dreamgym.core.policy import load_policy
from dreamgym.errors import ForeignDream, InvalidArgument
from dreamgym.evaluation.policies import make_policy, parse_action
from dreamgym.hub import ship_policy

STEERING = spaces.Box(np.array([-1, 0, 0], np.float32), np.ones(3, np.float32))
FEATURES = torch.linspace(-1, 1, 24).view(2, 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_dream(tmp_path_factory.mktemp("dreams") / "tiny")


def test_a_constant_is_repeated_for_every_lane():
    actor = make_policy("constant:2", counting_dream())
    actor.reset([0, 1, 2])
    assert actor.act(torch.zeros(3, 4)).tolist() == [2, 2, 2]


def test_a_constant_of_several_numbers_keeps_the_spaces_dtype():
    action = parse_action("constant:-0.5,1,0", STEERING, "Car")
    assert action.dtype == np.float32
    assert action.tolist() == [-0.5, 1.0, 0.0]


@pytest.mark.parametrize("text", ["constant:", "constant:gas", "constant:0,1", "constant:0,2,0", "constant:0,nan,0"])
def test_a_constant_that_is_no_action_is_refused(text):
    expected = r"Car expects 3 of float32 \[-1..1, 0..1, 0..1\], e.g. 'constant:0,0,0'"
    with pytest.raises(InvalidArgument, match=f"policy is '{text}'; {expected}"):
        parse_action(text, STEERING, "Car")


@pytest.mark.parametrize("text", ["constant:", "constant:3", "constant:1.5", "constant:0,0"])
def test_a_constant_that_is_no_choice_is_refused(text):
    with pytest.raises(InvalidArgument, match=f"policy is '{text}'; Counting expects 1 of integers 0..2, e.g. 'con"):
        make_policy(text, counting_dream())


def test_a_cycle_repeats_its_choices_for_every_lane_and_begins_anew():
    actor = make_policy("cycle:2x2,0x1", counting_dream())
    actor.reset([0, 1])
    assert [actor.act(torch.zeros(2, 4)).tolist() for _ in range(4)] == [[2, 2], [2, 2], [0, 0], [2, 2]]
    actor.reset([5])
    assert [actor.act(torch.zeros(1, 4)).tolist() for _ in range(3)] == [[2], [2], [0]]


@pytest.mark.parametrize("text", ["cycle:", "cycle:1", "cycle:1x0", "cycle:3x1", "cycle:1x2,", "cycle:0.5x2"])
def test_a_cycle_of_what_is_no_choice_is_refused(text):
    expected = "Counting expects CHOICExTIMES,CHOICExTIMES with choices of integers 0..2, e.g. 'cycle:0x10,1x10'"
    with pytest.raises(InvalidArgument, match=f"policy is '{text}'; {expected}"):
        make_policy(text, counting_dream())


def test_a_file_a_policy_and_the_shipped_one_act_alike(folder, tmp_path):
    file = save_tiny_policy(tmp_path / "policy.safetensors", folder)
    ship_policy(folder, load_policy(file))
    dream = load(folder)
    acting = [make_policy(spec, dream) for spec in (file, str(file), load_policy(file), "shipped")]
    expected = load_policy(file).act(FEATURES).tolist()
    assert [actor.act(FEATURES).tolist() for actor in acting] == [expected] * 4


def test_a_misspelt_word_is_taken_for_a_file_that_is_missing(folder):
    with pytest.raises(
        FileNotFoundError, match="no policy at shiped; expected 'shipped', 'random', 'const.*', 'cycle.*"
    ):
        make_policy("shiped", load(folder))


def test_a_pickle_is_refused_by_name(folder, tmp_path):
    (tmp_path / "ppo.zip").write_bytes(b"PK")
    with pytest.raises(ForeignDream, match="ppo.zip is no dreamgym policy"):
        make_policy(tmp_path / "ppo.zip", load(folder))


def test_a_dream_that_ships_no_policy_says_so():
    with pytest.raises(FileNotFoundError, match="Counting ships no policy; train one and give its file"):
        make_policy("shipped", counting_dream(action_space=LEVER))


def test_an_actor_of_ones_own_is_scored_and_remembers_each_lane(folder):
    class Alternating:
        def reset(self, seeds):
            self.t = np.zeros(len(seeds), np.int64)

        def act(self, features):
            self.t += 1
            return self.t % 3

    actor = Alternating()
    dream = load(folder)
    assert make_policy(actor, dream) is actor
    actor.reset([1, 2])
    assert actor.act(torch.zeros(2, dream.model.feature_dim)).tolist() == [1, 1]
