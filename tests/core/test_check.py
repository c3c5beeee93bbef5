"""check_world_model: every registered family passes, and each way to break the contract is named."""

import math
import re
from dataclasses import dataclass, replace

import pytest
import torch
from gymnasium import spaces
from oracle import BUTTONS, LEVER, NUMBERS, PICTURES, PICTURES64, CountingConfig, CountingWorld, counting_world
from wrapped import ARGUMENTS

from dreamgym.core.check import check_world_model
from dreamgym.core.model import Transition
from dreamgym.errors import InvalidModel, MissingHead, UnsupportedSpace
from dreamgym.hub import build_model
from dreamgym.registry import MODELS, WRAPPERS

SMALL = {
    "vae_mdn_rnn": ({"latent_dim": 4, "hidden_dim": 8, "channels": (2, 2, 2, 2)}, PICTURES64),
    "rssm": (
        {"groups": 3, "classes": 4, "deter_dim": 8, "hidden_dim": 6, "channels": (2, 2, 2, 2), "reward_members": 2},
        PICTURES64,
    ),
    "mlp_ensemble": ({"num_members": 3, "num_elites": 2, "hidden_dim": 6}, NUMBERS),
    "tabular": ({}, spaces.Discrete(5)),
    "counting": ({}, NUMBERS),
}
"""A small config and an observation space for each family: one line for a new one."""

NEEDS_MEMBERS = {"penalize_disagreement", "terminate_on_disagreement"}
"""Wrappers that refuse families other than those whose small config has several members."""


BUTTONS_ONLY = {"tabular"}
"""Families that refuse Box actions."""


@pytest.mark.parametrize("action_space", [BUTTONS, LEVER], ids=["buttons", "lever"])
@pytest.mark.parametrize("family", [name for name in MODELS if MODELS[name].startswith("dreamgym.")] + ["counting"])
def test_every_registered_family_keeps_the_contract(family, action_space):
    if family in BUTTONS_ONLY and action_space is LEVER:
        with pytest.raises(UnsupportedSpace):
            build_model(family, *SMALL[family], action_space)
        return
    config, observation_space = SMALL[family]
    model = build_model(family, config, observation_space, action_space).eval()
    check_world_model(model)
    members = max(config.get("reward_members", 1), config.get("num_elites", 1)) > 1
    for name in [name for name in WRAPPERS if members or name not in NEEDS_MEMBERS]:
        check_world_model(WRAPPERS.load(name)(model, **ARGUMENTS[name]))


def test_worlds_of_pictures_dicts_and_numbers_keep_the_contract():
    check_world_model(counting_world(PICTURES))
    check_world_model(counting_world(NUMBERS, LEVER), seed=7)


def test_the_checker_leaves_the_global_generator_alone_but_for_the_call_without_noise():
    class Silent(World):
        def step(self, state, action, noise=None, temperature=1.0):
            return super().step(state, action, torch.zeros(len(action), 2) if noise is None else noise, temperature)

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    check_world_model(Silent())
    assert torch.rand(1) == expected


class World(CountingWorld):
    """A correct world that the subclasses below break."""

    def __init__(self):
        super().__init__(CountingConfig(hazard=0.1), NUMBERS, LEVER)


class Stripped(World):
    def __getattribute__(self, name):
        if name == "noise_dim":
            raise AttributeError(name)
        return super().__getattribute__(name)


class LaneAxisLast(World):
    def initial(self, batch_size):
        return replace(super().initial(batch_size), walk=torch.zeros(4, batch_size))


class ObservesInPlace(World):
    def observe(self, state, action, obs, is_first, noise=None):
        out = super().observe(state, action, obs, is_first, noise)
        state.total.add_(1)
        return out


class KeepsTheOldEpisode(World):
    def observe(self, state, action, obs, is_first, noise=None):
        out = super().observe(state, action, obs, is_first, noise)
        return replace(out, total=state.total + action[:, 0])


class MasksAllLanes(World):
    def observe(self, state, action, obs, is_first, noise=None):
        return super().observe(state, action, obs, is_first.any().expand(len(is_first)), noise)


class ReturnsATuple(World):
    def step(self, *args):
        out = super().step(*args)
        return out.state, out.reward, out.termination


class Broken(World):
    """Changes fields of the transition by `break_`."""

    def step(self, *args):
        out = super().step(*args)
        return replace(out, **self.break_(out, *args))


class NoReward(Broken):
    def break_(self, out, *args):
        return {"reward": None}


class NoTermination(Broken):
    def break_(self, out, *args):
        return {"termination": None}


class ColumnReward(Broken):
    def break_(self, out, *args):
        return {"reward": out.reward[:, None]}


class DoubleReward(Broken):
    def break_(self, out, *args):
        return {"reward": out.reward.double()}


class NanReward(Broken):
    def break_(self, out, *args):
        return {"reward": out.reward * torch.nan}


class TerminationLogits(Broken):
    def break_(self, out, *args):
        return {"termination": out.termination - 3}


class SharedReward(Broken):
    def break_(self, out, *args):
        return {"reward": out.state.total}


class NanState(Broken):
    def break_(self, out, *args):
        return {"state": replace(out.state, walk=out.state.walk * torch.nan)}


class OtherState(Broken):
    def break_(self, out, *args):
        return {"state": {"t": out.state.t}}


class WiderState(Broken):
    def break_(self, out, *args):
        return {"state": replace(out.state, walk=out.state.walk[:, None])}


class BareInfo(Broken):
    def break_(self, out, *args):
        return {"info": {"loss": torch.zeros(5)}}


class StepsInPlace(Broken):
    def break_(self, out, state, *args):
        state.t.add_(1)
        return {}


class DrawsItself(Broken):
    def break_(self, out, *args):
        return {"state": replace(out.state, walk=torch.randn(len(out.reward)))}


class DrawsItsReward(Broken):
    def break_(self, out, *args):
        return {"reward": torch.randn(len(out.reward))}


class NormalisesOverLanes(Broken):
    def break_(self, out, *args):
        return {"state": replace(out.state, walk=out.state.walk - out.state.walk.mean())}


class RanksRewards(Broken):
    def break_(self, out, *args):
        return {"reward": out.reward - out.reward.mean()}


class NarrowFeatures(World):
    def features(self, state):
        return super().features(state)[:, :2]


class FlatDecode(World):
    def decode(self, state):
        return super().decode(state)[:, :3]


class DoubleDecode(World):
    def decode(self, state):
        return super().decode(state).double()


class NoGradient(World):
    def step(self, state, action, *args):
        return super().step(state, action.detach(), *args)


class NeedsNoise(World):
    def step(self, state, action, noise=None, temperature=1.0):
        assert noise is not None, "noise is missing"
        return super().step(state, action, noise, temperature)


class Rooted(World):
    def step(self, state, action, noise=None, temperature=1.0):
        return super().step(state, action, noise, math.sqrt(temperature))


class OneHeat(World):
    def step(self, state, action, noise=None, temperature=1.0):
        heat = temperature if isinstance(temperature, float) else temperature.mean()
        out = super().step(state, action, noise, heat)
        return replace(out, state=replace(out.state, walk=out.state.walk + heat))


class CutByNumber(World):
    def step(self, *args):
        out = super().step(*args)
        return replace(out, truncated=out.termination)


FAULTS = [
    (LaneAxisLast, "initial(3).walk has 4 rows; put the lane axis first."),
    (ObservesInPlace, "observe edited the state that it was given; return new tensors instead."),
    (KeepsTheOldEpisode, "observe with is_first=True keeps something of the old episode; start from initial() there."),
    (MasksAllLanes, "is_first in one lane changed another lane; select with torch.where per lane."),
    (ReturnsATuple, "step returned a tuple; expected a Transition."),
    (NoReward, "reward is None; expected float32 (3,)."),
    (NoTermination, "termination is None; expected float32 (3,)."),
    (ColumnReward, "reward is float32 (3, 1); expected float32 (3,)."),
    (DoubleReward, "reward is float64 (3,); expected float32 (3,)."),
    (NanReward, "reward holds a value that is not finite."),
    (TerminationLogits, "expected probabilities, apply a sigmoid to logits."),
    (SharedReward, "reward shares memory with the state; return a copy."),
    (NanState, "step led to a state whose walk is not finite."),
    (OtherState, "step returned a state of another kind."),
    (WiderState, "step changed state.walk from float32 (3,) to float32 (3, 1)."),
    (BareInfo, "info['loss'] is float32 (5,); put the lane axis first."),
    (StepsInPlace, "step edited the state that it was given; return new tensors instead."),
    (DrawsItself, "step with the same noise gave another state; use `noise` and no random numbers of its own."),
    (DrawsItsReward, "step with the same noise gave another reward; use `noise` and no random numbers of its own."),
    (NormalisesOverLanes, "lane 0 stepped alone gives another state than among 3; normalise over features, not lanes."),
    (RanksRewards, "lane 0 stepped alone gives another reward than among 3; normalise over features, not lanes."),
    (Rooted, "step takes no temperature [B, 1], one for each lane: "),
    (OneHeat, "lane 0 at a temperature of its own in [B, 1] gives another state than at that number alone; use the"),
    (CutByNumber, "truncated is float32 (3,); expected bool (3,), or None."),
    (NarrowFeatures, "features is float32 (3, 2); expected float32 (3, 4)."),
    (FlatDecode, "decode gave float32 (3, 3) for the observation; expected float32 (3, 4)."),
    (DoubleDecode, "decode gave float64 (3, 4) for the observation; expected float32 (3, 4)."),
    (NoGradient, "no gradient reaches the action; set `differentiable = False`, or remove no_grad and argmax."),
]


@pytest.mark.parametrize(("world", "message"), FAULTS, ids=[world.__name__ for world, _ in FAULTS])
def test_a_broken_world_is_refused_by_its_fault(world, message):
    with pytest.raises(InvalidModel, match=re.escape(message)):
        check_world_model(world())


def test_the_world_that_they_break_is_sound():
    check_world_model(World())


def test_what_is_no_world_model_is_refused_by_its_class():
    with pytest.raises(InvalidModel, match=r"Linear is no WorldModel; inherit from dreamgym\.WorldModel"):
        check_world_model(torch.nn.Linear(1, 1))


def test_a_world_without_a_noise_dim_is_told_to_set_it():
    with pytest.raises(InvalidModel, match="Stripped has no noise_dim; set it in __init__"):
        check_world_model(Stripped())


def test_features_that_share_memory_with_the_state_are_refused():
    @dataclass(frozen=True)
    class Table:
        x: torch.Tensor

    class Tabular(World):
        def initial(self, batch_size):
            return Table(torch.zeros(batch_size, 4))

        def observe(self, state, action, obs, is_first, noise=None):
            return Table(obs.clone())

        def step(self, state, action, noise=None, temperature=1.0):
            x = state.x + action
            return Transition(Table(x), x.sum(1), torch.zeros(len(x)))

        def features(self, state):
            return state.x

        def decode(self, state):
            return state.x

    with pytest.raises(InvalidModel, match="features shares memory with the state; return a copy"):
        check_world_model(Tabular())
    Tabular.features = lambda self, state: state.x.clone()
    check_world_model(Tabular())


def test_a_missing_head_is_reported_as_such():
    class Headless(World):
        def step(self, *args):
            raise MissingHead("Headless has no reward head; train one.")

    with pytest.raises(MissingHead, match="Headless has no reward head"):
        check_world_model(Headless())


def test_a_world_that_says_it_is_not_differentiable_needs_no_gradient():
    class Table(NoGradient):
        differentiable = False

    check_world_model(Table())


def test_noise_must_be_optional():
    with pytest.raises(AssertionError, match="noise is missing"):
        check_world_model(NeedsNoise())


def test_a_world_of_dicts_is_checked_part_by_part():
    both = spaces.Dict({"numbers": NUMBERS, "gear": spaces.Discrete(3)})

    class Both(World):
        def __init__(self):
            super().__init__()
            self.observation_space = both

        def observe(self, state, action, obs, is_first, noise=None):
            return super().observe(state, action, obs["numbers"], is_first, noise)

        def decode(self, state):
            return {"numbers": self.features(state), "gear": torch.zeros(len(state.t), self.gears)}

    Both.gears = 3
    check_world_model(Both())
    Both.gears = 2
    with pytest.raises(InvalidModel, match=re.escape("decode gave float32 (3, 2) for gear; expected float32 (3, 3).")):
        check_world_model(Both())
