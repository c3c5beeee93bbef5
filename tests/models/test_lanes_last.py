"""The quick step of an ensemble equals the plain one, which autograd and accelerators take, within rounding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.core.tree import finite_lanes
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.models.mlp_ensemble import Config, MlpEnsemble, State

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
LEVER = spaces.Box(-2.0, 2.0, (2,), np.float32)
WIDE = Config(num_members=4, hidden_dim=24, layers=2)


def make(config=WIDE, action_space=LEVER):
    """Return a model with scales of all sizes; the third number of an observation never changes."""
    torch.manual_seed(0)
    model = MlpEnsemble(config, OBS, action_space).eval()
    scales = {
        "obs": ([5.0, -100, 7], [2.0, 10, 0]),
        "action": ([0.3] * len(model.action_mean), [0.7] * len(model.action_mean)),
        "change": ([0.1, 0, 0], [0.5, 3, 0]),
        "reward": ([3.0], [2.0]),
        "ending": ([0.3], [0.46]),
    }
    for name, (mean, std) in scales.items():
        getattr(model, f"{name}_mean").copy_(torch.tensor(mean))
        getattr(model, f"{name}_std").copy_(torch.tensor(std))
    return model


def some(model, lanes, seed=0):
    """Return states, actions and noise of some lanes."""
    generator = torch.Generator().manual_seed(seed)
    state = State(torch.randn(lanes, 3, generator=generator), torch.full((lanes,), -1))
    action = 2 * torch.rand(lanes, 2, generator=generator)
    return state, action, torch.randn(lanes, model.noise_dim, generator=generator)


def plainly(model, *args, **kwargs):
    """Return the step that autograd sees."""
    with torch.enable_grad():
        return model.step(*args, **kwargs)


def assert_same(one, other, close=1e-5):
    assert torch.equal(one.state.member, other.state.member)
    for a, b in ((one.state.obs, other.state.obs), (one.reward, other.reward), (one.termination, other.termination)):
        assert a.shape == b.shape
        assert torch.allclose(a, b, rtol=close, atol=close, equal_nan=True)


@pytest.mark.parametrize("quiet", [False, True], ids=["told", "quiet"])
@pytest.mark.parametrize("lanes", [1, 48, 49, 700, 1100])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"num_elites": 2, "activation": "tanh"},
        {"num_elites": 1, "activation": "relu"},
        {"probabilistic": False, "activation": "elu", "layers": 1},
        {"num_members": 1, "probabilistic": False},
        {"propagation": "tsinf", "layers": 0, "termination_layers": 0},
        {"reward": "cart_pole", "termination": "never"},
    ],
    ids=str,
)
@torch.no_grad()
def test_both_steps_dream_the_same(change, lanes, quiet):
    model = make(replace(WIDE, **change))
    if model.config.num_elites:
        model.elites.copy_(torch.tensor([1, 3])[: model.config.num_elites])
    if model.config.probabilistic:
        model.highest.copy_(torch.linspace(-1.0, 0.5, len(model.highest)))
        model.lowest.copy_(torch.linspace(-3.0, -1.5, len(model.lowest)))
    quick = model.without_info() if quiet else model
    state, action, noise = some(model, lanes)
    for heat in (1.0, 2.5, torch.linspace(0.5, 2.0, lanes)[:, None]):
        plain, ours = plainly(model, state, action, noise, heat), quick.step(state, action, noise, heat)
        assert_same(ours, plain)
        assert ours.state.obs.is_contiguous()
    if quiet or len(model.elites) == 1:
        assert dict(ours.info) == {}
    else:
        assert torch.allclose(ours.info["disagreement"], plain.info["disagreement"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lanes", [7, 300, 4100])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"propagation": "tsinf", "num_elites": 3},
        {"num_members": 1, "probabilistic": False},
        {"probabilistic": False, "reward": "cart_pole"},
        {"termination": "never"},
    ],
    ids=str,
)
@torch.no_grad()
def test_what_is_unrolled_is_what_one_step_after_the_other_dreams(change, lanes):
    model = make(replace(WIDE, **change))
    (state, *_), generator = some(model, lanes), torch.Generator().manual_seed(1)
    actions = list(2 * torch.rand(5, lanes, 2, generator=generator))
    noise = 0.1 * torch.randn(5, lanes, model.noise_dim, generator=generator)
    noise[..., -1] *= 10
    for heat in (1.0, torch.linspace(0.5, 2.0, lanes)[:, None]):
        quick = model.without_info().unroll(state, actions, noise.__getitem__, heat)
        now, rewards, endings = state, [], []
        for t in range(5):
            step = plainly(model, now, actions[t], noise[t], heat)
            now = step.state
            rewards.append(step.reward)
            endings.append(step.termination)
        assert torch.equal(quick.state.member, now.member)
        for a, b in ((quick.state.obs, now.obs), (quick.reward, torch.stack(rewards))):
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        assert torch.allclose(quick.termination, torch.stack(endings), rtol=1e-3, atol=1e-4)
        with torch.enable_grad():
            plain = model.unroll(state, actions, noise.__getitem__, heat)
        assert torch.allclose(plain.reward, quick.reward, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("lanes", [3, 90])
def test_what_is_dreamed_without_gradients_may_be_learned_from(lanes):
    model = make(WIDE)
    state, action, noise = some(model, lanes)
    with torch.no_grad():
        found = model.without_info().unroll(state, [action] * 4, lambda t: noise)
        step = model.step(state, action, noise)
    dreamed = [found.reward, found.termination, found.state.obs, step.reward, step.termination, step.state.obs]
    weight = torch.ones((), requires_grad=True)
    sum((weight * x).sum() for x in (*dreamed, step.info["disagreement"])).backward()
    assert weight.grad.isfinite()
    model.step(found.state, action, noise).reward.sum().backward()  # nor has the model kept what has no gradient


@torch.no_grad()
def test_an_unrolled_lane_that_leaves_the_finite_numbers_is_told_by_the_last_state():
    model = make(WIDE).without_info()
    state, action, noise = some(model, 90)
    noise[3, 0] = torch.inf
    state.obs[60, 2] = torch.nan
    last = model.unroll(state, [action] * 4, lambda t: noise).state
    assert (~finite_lanes(last)).nonzero()[:, 0].tolist() == [3, 60]


@torch.no_grad()
def test_episodes_that_never_ended_in_the_recordings_never_do():
    model = make(WIDE)
    model.ending_mean.fill_(0.25)
    model.ending_std.fill_(0.0)
    step = model.without_info().step(*some(model, 60))
    assert step.termination.tolist() == [0.25] * 60


@torch.no_grad()
def test_every_lane_that_leaves_the_finite_numbers_is_told_and_no_other():
    model = make(WIDE)
    state, action, noise = some(model, 90)
    state.obs[0, 1], state.obs[50, 0], action[70, 1] = torch.nan, torch.inf, torch.nan
    for quick in (model, model.without_info()):
        ours, whole = quick.step(state, action, noise), torch.ones(90, dtype=torch.bool)
        whole[[0, 50, 70]] = False
        assert torch.equal(ours.reward.isfinite(), whole)
        assert torch.equal(ours.termination.isfinite(), whole)
        assert_same(ours, plainly(model, state, action, noise))


@torch.no_grad()
def test_a_quiet_ensemble_shares_the_weights_and_leaves_the_other_as_it_was():
    model = make(WIDE)
    quiet, given = model.without_info(), some(model, 60)
    before = quiet.step(*given)
    model.net.weights[1].mul_(1.5)
    model.ending[-1].bias.add_(1)
    after = quiet.step(*given)
    assert not torch.allclose(after.state.obs, before.state.obs)
    assert_same(after, plainly(model, *given))
    assert "disagreement" in model.step(*given).info
    assert dict(plainly(quiet, *given).info) == {}


@torch.no_grad()
def test_a_lane_is_dreamed_alike_however_many_there_are():
    model = make(WIDE).without_info()
    state, action, noise = some(model, 700)
    together = model.step(state, action, noise)
    few = model.step(State(state.obs[300:400], state.member[300:400]), action[300:400], noise[300:400])
    assert torch.allclose(few.state.obs, together.state.obs[300:400], atol=1e-5)


def test_members_are_drawn_alike_and_evenly():
    model = MlpEnsemble(replace(WIDE, num_members=5), OBS, LEVER).eval()
    noise = torch.zeros(100_000, model.noise_dim)
    noise[:, -1] = torch.randn(100_000, generator=torch.Generator().manual_seed(1))
    state, action = State(torch.zeros(100_000, 3), torch.full((100_000,), -1)), torch.zeros(100_000, 2)
    with torch.no_grad():
        quick = model.step(state, action, noise).state.member
    assert (quick != plainly(model, state, action, noise).state.member).sum() <= 1  # by rounding at an edge
    assert np.bincount(quick.numpy(), minlength=5) == pytest.approx([20_000] * 5, abs=500)


@pytest.mark.parametrize("reads", [True, False])
def test_a_wrapper_that_reads_what_is_reported_is_not_kept_from_it(reads):
    class Reading(ModelWrapper):
        reads_info = reads

    model = make(replace(WIDE, num_members=3))
    wrapped = Reading(model).without_info()
    with torch.no_grad():
        said = wrapped.step(*some(model, 60)).info
    assert ("disagreement" in said) is reads


def test_buttons_are_read_as_levers_are():
    model = make(WIDE, action_space=spaces.Discrete(2))
    state, _, noise = some(model, 60)
    hot = torch.eye(2)[torch.arange(60) % 2]
    with torch.no_grad():
        assert_same(model.without_info().step(state, hot, noise), plainly(model, state, hot, noise))
