"""The agent in a world whose best actions are known by hand."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from gymnasium import spaces
from tiny import save_tiny_dream
from torch import Tensor, nn

from dreamgym.agents.dreamer import Dreamer, train_dreamer
from dreamgym.agents.dreamer_config import DreamerConfig, dreamer_v1, dreamer_v2, dreamer_v3
from dreamgym.core import kept
from dreamgym.core.kept import Kept
from dreamgym.core.model import Transition, WorldModel
from dreamgym.core.policy import load_policy, save_policy
from dreamgym.core.starts import StartBank
from dreamgym.errors import InvalidArgument, InvalidModel, TrainingFailed, UnsupportedSpace
from dreamgym.evaluation.transfer import evaluate
from dreamgym.hub import LoadedDream, load

LEVER = spaces.Box(-2, 2, (1,))
BUTTONS = spaces.Discrete(3)


@dataclass(frozen=True)
class Place:
    x: Tensor  # [B]


class Valley(WorldModel[Place], nn.Module):
    """Earns most where x is 0: the lever adds half of itself, of three buttons the first steps down and the last up."""

    noise_dim, feature_dim = 1, 2

    def __init__(self, action_space, scale=1.0, cliff=False) -> None:
        super().__init__()
        self.observation_space, self.action_space = spaces.Box(-9, 9, (1,)), action_space
        self.scale, self.cliff = scale, cliff
        self.push = nn.Parameter(torch.tensor(0.5))

    def initial(self, batch_size):
        return Place(torch.zeros(batch_size))

    def observe(self, state, action, obs, is_first, noise=None):
        return Place(obs[:, 0])

    def step(self, state, action, noise=None, temperature=1.0):
        move = action @ torch.tensor([-1.0, 0.0, 1.0]) if action.shape[1] == 3 else action[:, 0]
        x = (state.x + self.push * move).clamp(-3, 3)
        over = (x > 2).float() if self.cliff else torch.zeros_like(x)
        return Transition(Place(x), -self.scale * x.square(), over)

    def features(self, state):
        return torch.stack([state.x, state.x.sign()], 1)


def dream(action_space, **kwargs):
    x = torch.linspace(-2, 2, 41)
    return LoadedDream(
        Valley(action_space, **kwargs), StartBank(Place(x), torch.ones(41, dtype=torch.bool)), {"id": "V"}
    )


FAST = {"hidden": (32,), "actor_rate": 5e-3, "critic_rate": 5e-3, "horizon": 5, "gamma": 0.9}


def learned(action_space, config, updates=80, seed=0, **kwargs):
    policy, _ = train_dreamer(
        dream(action_space, **kwargs), updates=updates, starts_per_update=32, config=config, seed=seed, log_every=50
    )
    return policy


def acts_wisely(policy):
    """Return whether a policy goes back to 0 from both sides."""
    action = policy.act(torch.tensor([[-1.5, -1.0], [1.5, 1.0]]))
    low, high = action.flatten().tolist()
    return (low, high) == (2, 0) if isinstance(policy.action_space, spaces.Discrete) else low > 1 and high < -1


@pytest.mark.parametrize("space", [LEVER, BUTTONS], ids=["box", "discrete"])
@pytest.mark.parametrize(
    "config",
    [
        dreamer_v1(**FAST, init_std=1.0),
        dreamer_v2(**FAST, slow_every=10),
        dreamer_v2(discrete=False, **FAST, slow_every=10),
        dreamer_v2(**{**FAST, "reinforce": 0.5}, slow_every=10),
        dreamer_v3(**FAST),
    ],
    ids=["v1", "v2", "v2-values", "v2-mixed", "v3"],
)
def test_every_dreamer_learns_what_is_best(space, config):
    assert acts_wisely(learned(space, config))


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("space", [LEVER, BUTTONS], ids=["box", "discrete"])
def test_the_third_learns_whatever_the_scale_of_the_reward(space, scale):
    updates = 300 if scale < 1 else 80  # a range of returns below 1 is not blown up: the entropy weighs more for longer
    wise = [acts_wisely(learned(space, dreamer_v3(**FAST), updates, seed, scale=scale)) for seed in range(3)]
    assert sum(wise) >= 2  # on which side of luck a seed lies depends on the processor's rounding


@pytest.mark.parametrize("config", [dreamer_v1(**FAST), dreamer_v2(**FAST), dreamer_v3(**FAST)], ids=["v1", "v2", "v3"])
def test_the_world_model_stays_as_it_is(config):
    where = dream(LEVER)
    train_dreamer(where, updates=3, starts_per_update=8, config=config)
    assert where.model.push.item() == 0.5
    assert where.model.push.grad is None
    assert where.model.push.requires_grad


def test_an_end_is_avoided_or_sought_as_it_pays():
    """Every step costs something, so that the cliff, which ends it, is worth jumping from where it is near."""
    policy = learned(LEVER, dreamer_v3(**{**FAST, "gamma": 0.99}), cliff=True)
    assert policy.act(torch.tensor([[-1.5, -1.0]])).item() > 1


def test_nothing_is_hoped_for_after_an_end():
    agent = Dreamer(dreamer_v1(hidden=(8,), horizon=1), 2, LEVER)
    with torch.no_grad():
        agent.critic[-1].bias.fill_(100.0)
    start = Place(torch.full((4,), 30.0))  # one step leads to 3, beyond the cliff, and earns -9
    assert agent.update(Valley(LEVER, cliff=True), start)["imagined_return"].item() == -9
    agent = Dreamer(dreamer_v1(hidden=(8,), horizon=1, reward_scale=0.5), 2, LEVER)
    with torch.no_grad():
        agent.critic[-1].bias.fill_(100.0)
    assert agent.value(torch.zeros(1, 2)).item() == 200
    assert agent.update(Valley(LEVER), start)["imagined_return"].item() == pytest.approx(-9 + 0.99 * 200)


def test_what_comes_after_an_end_teaches_nothing():
    start = Place(torch.full((4,), 30.0))
    figures = Dreamer(dreamer_v1(hidden=(8,), horizon=3), 2, LEVER).update(Valley(LEVER, cliff=True), start)
    assert figures["critic_loss"].item() == pytest.approx(0.5 * 9**2 / 3)  # of three steps the first one counts


@pytest.mark.parametrize("config", [dreamer_v1(**FAST), dreamer_v3(**FAST)], ids=["v1", "v3"])
def test_a_loaded_dream_of_another_family_will_do_and_its_policy_is_scored_on_both_sides(config, tmp_path):
    where = load(save_tiny_dream(tmp_path / "dodge"))
    policy, curve = train_dreamer(where, updates=3, starts_per_update=4, config=config, log_every=2)
    assert [row.update for row in curve] == [2, 3]
    path = save_policy(policy, tmp_path / "p.safetensors")
    assert set(evaluate(str(where.folder), path, episodes=1)) == {"real", "dream"}


def test_the_same_seed_learns_the_same_policy_and_leaves_torchs_generator_alone():
    before = torch.get_rng_state()
    one, two, other = (
        train_dreamer(dream(BUTTONS), updates=5, starts_per_update=8, seed=seed)[0].state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["net.0.weight"], other["net.0.weight"])
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "config", [dreamer_v1(hidden=(8,)), dreamer_v2(hidden=(8,), slow_every=3), DreamerConfig(hidden=(8,))]
)
def test_a_training_that_was_interrupted_twice_learns_the_same_policy(config, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "KEEP_SECONDS", 0.0)
    path, seen = tmp_path / "dreamer.unfinished", []

    def learn(until=99, **more):
        def progress(row):
            seen.append(row.update)
            if row.update == until:
                raise KeyboardInterrupt

        options = {"updates": 11, "starts_per_update": 8, "log_every": 2, "config": config, **more}
        policy, curve = train_dreamer(dream(LEVER), **options, progress=progress)
        return {name: x.tolist() for name, x in policy.state_dict().items()}, curve

    for until in (4, 8):
        with pytest.raises(KeyboardInterrupt):
            learn(until, keep=Kept(path))
    with pytest.raises(InvalidArgument, match=r"unfinished was left by a training with seed 0, gamma 0.99\d*; give"):
        learn(keep=Kept(path), seed=1, config=replace(config, gamma=0.9))
    whole = learn(keep=Kept(path))
    assert seen == [2, 4, 4, 6, 8, 8, 10, 11]
    assert whole == learn()


@pytest.mark.parametrize("space", [LEVER, BUTTONS], ids=["box", "discrete"])
@pytest.mark.parametrize("config", [dreamer_v1(hidden=(16, 16)), DreamerConfig(hidden=(16, 16))], ids=["v1", "v3"])
def test_an_exported_policy_does_what_the_actor_holds_best(space, config, tmp_path):
    torch.manual_seed(0)
    agent = Dreamer(config, 2, space)
    with torch.no_grad():
        agent.actor[-1].weight.mul_(300)
    features = torch.randn(50, 2)
    policy = load_policy(save_policy(agent.export("V", "a" * 64), tmp_path / "p.safetensors"))
    best = agent.head.action(agent.head.mode(agent.actor(features)))
    expected = best.argmax(1) if space is BUTTONS else best
    assert torch.allclose(policy.act(features).float(), expected.float(), atol=1e-5)
    assert len(policy.act(features).unique()) > 1
    assert (policy.config.dream, policy.config.model_sha256) == ("V", "a" * 64)


def test_an_agent_goes_on_where_another_one_stopped():
    model, start = Valley(LEVER), Place(torch.linspace(-1, 1, 16))
    first, second = (Dreamer(DreamerConfig(hidden=(8,), actor_rate=0.01), 2, LEVER) for _ in range(2))
    for _ in range(3):
        first.update(model, start)
    second.load_state_dict(first.state_dict())
    second.load_moments({name: x.clone() for name, x in first.moments().items()})
    for agent in (first, second):
        torch.manual_seed(1)
        agent.update(model, start)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_the_slow_critic_follows_at_its_rate():
    agent = Dreamer(dreamer_v2(hidden=(8,), slow_every=2, critic_rate=0.01), 2, LEVER)
    model, start = Valley(LEVER), Place(torch.linspace(-1, 1, 16))
    agent.update(model, start)
    assert not torch.equal(agent.slow[-1].weight, agent.critic[-1].weight)
    agent.update(model, start)
    assert torch.equal(agent.slow[-1].weight, agent.critic[-1].weight)


def test_exploration_is_about_as_wide_as_it_says():
    generator = torch.Generator().manual_seed(0)
    quiet = Dreamer(dreamer_v1(hidden=(8,), init_std=2e-4, exploration=0.0), 2, LEVER).act(torch.zeros(500, 2))
    noisy = Dreamer(dreamer_v1(hidden=(8,), init_std=2e-4, exploration=0.1), 2, LEVER)
    assert quiet.std().item() < 0.01
    assert noisy.act(torch.zeros(2000, 2), generator).std().item() == pytest.approx(0.2, rel=0.1)
    agent = Dreamer(dreamer_v1(hidden=(8,), exploration=0.3), 2, BUTTONS)
    with torch.no_grad():
        agent.actor[-1].bias.copy_(torch.tensor([50.0, 0, 0]))
    assert agent.act(torch.zeros(3000, 2), generator)[:, 0].mean().item() == pytest.approx(0.8, abs=0.03)


def test_what_an_agent_cannot_do_is_refused_by_its_value():
    with pytest.raises(UnsupportedSpace, match="dreamer cannot act in MultiBinary"):
        Dreamer(DreamerConfig(), 2, spaces.MultiBinary(3))
    with pytest.raises(InvalidArgument, match="critic is 'oracle'; expected one of 'two_hot', 'squared'"):
        Dreamer(DreamerConfig(critic="oracle"), 2, LEVER)
    with pytest.raises(InvalidArgument, match="updates is 0; expected at least 1"):
        train_dreamer(dream(LEVER), updates=0)
    model = Valley(LEVER)
    model.differentiable = False  # type: ignore[misc]
    with pytest.raises(InvalidModel, match="Valley is not differentiable, and reinforce is 0.0"):
        Dreamer(dreamer_v1(), 2, LEVER).update(model, Place(torch.zeros(2)))
    Dreamer(dreamer_v3(hidden=(8,)), 2, LEVER).update(model, Place(torch.zeros(2)))


def test_a_world_that_leaves_the_finite_numbers_stops_the_agent_by_name():
    with pytest.raises(TrainingFailed, match="imagined_return is nan at update 1 of the agent"):
        Dreamer(DreamerConfig(hidden=(8,)), 2, LEVER).update(Valley(LEVER, scale=float("nan")), Place(torch.zeros(2)))


def test_the_variants_have_their_papers_settings():
    one, two, three = dreamer_v1(), dreamer_v2(), dreamer_v3()
    assert (one.horizon, two.horizon, three.horizon) == (15, 15, 15)
    assert (one.gamma, two.gamma, three.gamma) == (0.99, 0.995, 0.997)
    assert one.lambda_ == two.lambda_ == three.lambda_ == 0.95
    assert (one.reinforce, two.reinforce, dreamer_v2(discrete=False).reinforce, three.reinforce) == (0, 1, 0, 1)
    assert (one.entropy, two.entropy, three.entropy) == (0, 1e-3, 3e-4)
    assert (one.actor_rate, two.actor_rate, three.actor_rate) == (8e-5, 4e-5, 3e-5)
    assert (three.return_decay, three.return_limit, three.unimix, three.slow_rate) == (0.99, 1.0, 0.01, 0.02)
    assert (two.slow_target, two.slow_every, three.slow_target) == (True, 100, False)
