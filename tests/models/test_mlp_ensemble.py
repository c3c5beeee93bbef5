"""The ensemble: its loss, its members, its elites and its disagreement, each against NumPy."""

from dataclasses import replace
from statistics import NormalDist

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.core.bootstrap import poisson_weights
from dreamgym.core.check import check_world_model
from dreamgym.core.codec import encode_action
from dreamgym.core.model import SequenceBatch
from dreamgym.core.starts import StartBank
from dreamgym.core.tree import compact, tree_map
from dreamgym.envs.simulator import Simulator
from dreamgym.errors import InvalidArgument, TrainingFailed, UnsupportedSpace
from dreamgym.hub import build_model, load, save_dream
from dreamgym.models.mlp_ensemble import Config, MlpEnsemble, State
from dreamgym.models.mlp_ensemble_sizes import mbpo, pets, regression

OBS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
LEVER = spaces.Box(-2.0, 2.0, (2,), np.float32)
BUTTONS = spaces.Discrete(3)
SMALL = Config(num_members=4, hidden_dim=6, layers=2)


def make(config=SMALL, observation_space=OBS, action_space=LEVER, **functions):
    """Return a model that has seen recordings whose numbers have different sizes; the third never changes."""
    torch.manual_seed(0)
    model = MlpEnsemble(config, observation_space, action_space, **functions).eval()
    model.begin_stage("ensemble", iter([recorded(action_space=action_space)]))
    return model


def recorded(num=64, action_space=LEVER, seed=1):
    """Return transitions `[num, 1]`, the last ten of which are padding."""
    rng = np.random.default_rng(seed)
    obs = np.stack([rng.normal(5, 2, num), rng.normal(-100, 10, num), np.full(num, 7.0)], 1)
    change = np.stack([rng.normal(0.1, 0.5, num), rng.normal(0, 3, num), np.zeros(num)], 1)
    action_space.seed(0)
    action = encode_action(action_space, np.stack([action_space.sample() for _ in range(num)]))
    mask = torch.ones(num, 1)
    mask[-10:] = 0
    return SequenceBatch(
        obs=torch.as_tensor(np.stack([obs, obs + change], 1), dtype=torch.float32),
        action=action[:, None],
        reward=torch.as_tensor(rng.normal(3, 2, (num, 1)), dtype=torch.float32),
        terminated=torch.as_tensor(rng.random((num, 1)) < 0.3).float(),
        mask=mask,
        is_first=torch.ones(num, dtype=torch.bool),
    )


def inputs(model, batch):
    """Return the batch as training gives it to the loss."""
    obs = model.stage_inputs(batch.obs.flatten(0, 1), "ensemble")
    return replace(batch, obs=obs.view_as(batch.obs))


def silu(x):
    return x / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def answers(model, x):
    """Return `[N, R, ...]` what each member says of `x [R, K]`, in float64."""
    said = []
    for member in range(model.config.num_members):
        h = np.asarray(x, np.float64)
        for i, (weight, bias) in enumerate(zip(model.net.weights, model.net.biases, strict=True)):
            h = h @ weight[member].detach().double().numpy() + bias[member].detach().double().numpy()
            h = silu(h) if i < len(model.net.weights) - 1 else h
        said.append(h)
    return np.stack(said)


def statistics(batch):
    """Return what the model has to know of the recordings: means and deviations of what is not padding."""
    real = batch.mask[:, 0].numpy() > 0
    obs, action = batch.obs.double().numpy()[real], batch.action.double().numpy()[real, 0]
    now, change, reward = obs[:, 0], obs[:, 1] - obs[:, 0], batch.reward.double().numpy()[real]
    return {name: (x.mean(0), x.std(0)) for name, x in
            {"obs": now, "action": action, "change": change, "reward": reward}.items()}  # fmt: skip


def standardised(batch):
    """Return inputs `[R, 5]` and targets `[R, 4]` of the members in float64; the third number has none."""
    stats = statistics(batch)
    obs, action = batch.obs.double().numpy(), batch.action.double().numpy()[:, 0]
    scale = np.where(stats["obs"][1] > 1e-3, stats["obs"][1], 1)
    now = (obs[:, 0] - stats["obs"][0]) / scale
    x = np.concatenate([now, (action - stats["action"][0]) / stats["action"][1]], 1)
    change = (obs[:, 1] - obs[:, 0] - stats["change"][0]) / np.where(stats["change"][1] > 1e-3, stats["change"][1], 1)
    reward = (batch.reward.double().numpy() - stats["reward"][0]) / stats["reward"][1]
    return x, np.concatenate([change, reward], 1)


@pytest.mark.parametrize("preset", [pets, mbpo, regression])
@pytest.mark.parametrize("space", [OBS, spaces.Dict({"arm": OBS, "dial": spaces.Box(0, 9, (2, 2), np.float64)})])
def test_the_variants_of_the_papers_keep_the_contract(preset, space):
    for action_space in (LEVER, BUTTONS):
        check_world_model(MlpEnsemble(replace(preset(), hidden_dim=8), space, action_space).eval())
    kept = replace(preset(), hidden_dim=8, propagation="tsinf", features="raw", activation="tanh")
    check_world_model(MlpEnsemble(kept, space, LEVER).eval())


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_the_loss_is_the_likelihood_between_soft_bounds_a_cross_entropy_and_what_holds_the_bounds_together(beta):
    model, batch = make(replace(SMALL, beta_nll=beta)), recorded()
    with torch.no_grad():
        model.highest.copy_(torch.tensor([0.3, 0.5, 0.1, 0.7]))
        model.lowest.copy_(torch.tensor([-3.0, -0.1, -10.0, -0.2]))
    total, terms = model.loss(inputs(model, batch), "ensemble")
    x, target = standardised(batch)
    out = answers(model, x)
    highest, lowest = (p.detach().double().numpy() for p in (model.highest, model.lowest))
    bounded = highest - softplus(highest - out[..., 4:])
    bounded = lowest + softplus(bounded - lowest)
    nll = (((out[..., :4] - target) ** 2 * np.exp(-bounded) + bounded) * np.exp(beta * bounded)).mean(-1)  # [N, R]
    real = batch.mask[:, 0].numpy() > 0
    assert terms["likelihood"].item() == pytest.approx(nll[:, real].mean(), rel=1e-4)
    assert terms["bounds"].item() == pytest.approx(0.01 * (highest - lowest).sum())
    squares = sum((weight.detach().double().numpy() ** 2).sum() for weight in model.net.weights)
    assert terms["decay"].item() == pytest.approx(0.5e-5 * squares / 4, rel=1e-4)
    after = inputs(model, batch).obs[:, 1]
    logit = model.ending(torch.cat([torch.as_tensor(x, dtype=torch.float32), after], 1))[:, 0].detach().double().numpy()
    ended = batch.terminated[:, 0].numpy()
    entropy = ended * softplus(-logit) + (1 - ended) * softplus(logit)
    assert terms["termination"].item() == pytest.approx(entropy[real].mean(), rel=1e-4)
    assert total.item() == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-5)


def test_without_variances_one_member_is_the_textbooks_regression():
    model, batch = make(replace(SMALL, num_members=1, probabilistic=False, weight_decay=0.0)), recorded()
    _, terms = model.train().loss(inputs(model, batch), "ensemble")
    x, target = standardised(batch)
    real = batch.mask[:, 0].numpy() > 0
    assert list(terms) == ["error", "termination", "decay"]
    assert terms["error"].item() == pytest.approx(((answers(model, x)[0] - target) ** 2)[real].mean(), rel=1e-4)
    state = model.observe(model.initial(64), batch.action[:, 0], batch.obs[:, 0], batch.is_first)
    one, other = (model.step(state, batch.action[:, 0], noise) for noise in (torch.zeros(64, 1), torch.ones(64, 1)))
    assert torch.equal(one.state.obs, other.state.obs)
    assert dict(one.info) == {}


def test_a_step_is_the_drawn_members_gaussian_in_the_units_of_the_recordings():
    model, batch = make(), recorded()
    action, noise = batch.action[:, 0], torch.randn(64, model.noise_dim, generator=torch.Generator().manual_seed(2))
    state = model.observe(model.initial(64), action, batch.obs[:, 0], batch.is_first)
    step = model.step(state, action, noise, temperature=4.0)
    stats, out = statistics(batch), answers(model, standardised(batch)[0])
    member = np.array([int(4 * NormalDist().cdf(x)) for x in noise[:, -1].tolist()])
    assert step.state.member.tolist() == member.tolist()
    assert set(member) == {0, 1, 2, 3}
    chosen = out[member, np.arange(64)]
    lowest, highest = -10, 0.5
    variance = lowest + softplus(highest - softplus(highest - chosen[:, 4:7]) - lowest)
    change = chosen[:, :3] + 2 * np.exp(0.5 * variance) * noise[:, :3].double().numpy()
    deviation = np.where(stats["change"][1] > 1e-3, stats["change"][1], 0)
    expected = batch.obs[:, 0].double().numpy() + stats["change"][0] + deviation * change
    assert model.decode(step.state).detach().numpy() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert (model.decode(step.state)[:, 2] == 7).all()  # what never changed in the recordings never does
    mean, std = stats["reward"]
    assert step.reward.detach().numpy() == pytest.approx(mean + std * chosen[:, 3], rel=1e-4)
    spread = out[..., :3].var(0)
    spread[:, 2] = 0
    assert step.info["disagreement"].detach().numpy() == pytest.approx(np.sqrt(spread.mean(1)), rel=1e-3)


@pytest.mark.parametrize("grad", [True, False])
def test_elites_alone_dream_and_disagree(grad):
    model, batch = make(replace(SMALL, num_elites=2)), recorded()
    model.elites.copy_(torch.tensor([1, 3]))
    state = model.observe(model.initial(64), batch.action[:, 0], batch.obs[:, 0], batch.is_first)
    with torch.set_grad_enabled(grad):
        step = model.step(state, batch.action[:, 0], torch.zeros(64, model.noise_dim))
    out = answers(model, standardised(batch)[0])
    assert step.state.member.eq(1).all()  # the second of the elites
    mean, std = statistics(batch)["reward"]
    assert step.reward.detach().numpy() == pytest.approx(mean + std * out[3, :, 3], rel=1e-4)
    difference = out[1, :, :2] - out[3, :, :2]
    expected = np.sqrt((difference**2 / 4).sum(1) / 3)
    assert step.info["disagreement"].detach().numpy() == pytest.approx(expected, rel=1e-3)


def dreamed_members(propagation, steps=40):
    model = make(replace(SMALL, propagation=propagation))
    generator, action = torch.Generator().manual_seed(3), torch.zeros(50, 2)
    state = model.observe(model.initial(50), action, torch.zeros(50, 3), torch.ones(50, dtype=torch.bool))
    members = [state.member]
    for _ in range(steps):
        state = model.step(state, action, torch.randn(50, model.noise_dim, generator=generator)).state
        members.append(state.member)
    seen = model.observe(state, action, torch.zeros(50, 3), torch.zeros(50, dtype=torch.bool))
    return torch.stack(members), seen.member


def test_ts1_draws_a_member_for_every_step_and_tsinf_keeps_it_until_something_real_is_seen():
    for propagation in ("ts1", "tsinf"):
        members, seen = dreamed_members(propagation)
        assert members[0].eq(-1).all()
        assert seen.eq(-1).all()
        counts = torch.bincount(members[1:].flatten(), minlength=4)
        assert len(counts) == 4
        assert counts.min() > 0
        changes = (members[2:] != members[1:-1]).float().mean().item()
        assert changes == (pytest.approx(0.75, abs=0.05) if propagation == "ts1" else 0)


def test_dreams_that_begin_in_one_start_bank_have_members_of_their_own():
    model = make(replace(SMALL, propagation="tsinf"))
    seen = model.observe(model.initial(1), torch.zeros(1, 2), torch.zeros(1, 3), torch.ones(1, dtype=torch.bool))
    simulator = Simulator(model, StartBank(tree_map(compact, seen), torch.ones(1, dtype=torch.bool)))
    lanes = simulator.begin(torch.arange(64))
    lanes, _ = simulator.step(lanes, torch.zeros(64, 2))
    assert set(lanes.state.member.tolist()) == {0, 1, 2, 3}
    after, _ = simulator.step(lanes, torch.zeros(64, 2))
    assert torch.equal(after.state.member[~lanes.done], lanes.state.member[~lanes.done])


def test_elites_are_the_members_with_the_lowest_loss_on_held_out_transitions():
    model = make(replace(SMALL, num_members=5, num_elites=2, probabilistic=False))
    held_out = inputs(model, recorded(seed=8))
    with torch.no_grad():
        for member, size in enumerate([3.0, 0.1, 2.0, torch.nan, 0.2]):
            model.net.biases[-1][member] += size
    model.end_stage("ensemble", iter([held_out, held_out]))
    assert model.elites.tolist() == [1, 4]
    with torch.no_grad():
        model.net.biases[-1][:4] = torch.nan
    with pytest.raises(TrainingFailed, match=r"the members' losses on held-out episodes are \[nan, .*at least 2 fini"):
        model.end_stage("ensemble", iter([held_out]))


def test_padding_chooses_no_elites():
    model = make(replace(SMALL, num_elites=1, probabilistic=False))
    batch = inputs(model, recorded(seed=8))
    with torch.no_grad():
        for member in range(4):
            model.net.biases[-1][member] += (
                3 * member
            )  # best for what is recorded is the first, for what is not the last
    leap = torch.where(batch.mask[:, 0, None] > 0, batch.obs[:, 1], 1e4)
    absurd = replace(batch, obs=torch.stack([batch.obs[:, 0], leap], 1))
    for mask, best in ((batch.mask, 0), (torch.ones_like(batch.mask), 3)):
        model.end_stage("ensemble", iter([replace(absurd, mask=mask)]))
        assert model.elites.tolist() == [best]


def test_members_learn_from_different_bootstraps_and_are_judged_on_everything():
    model, batch = make(), recorded()
    batch = replace(inputs(model, batch), mask=torch.ones(64, 1))
    total = {}
    for training in (True, False):
        model.train(training)
        model.zero_grad()
        model.loss(batch, "ensemble")[0].backward()
        total[training] = model.net.biases[-1].grad.clone()
    x, target = standardised(recorded())
    error = answers(model, x)[..., :4] - target
    rows = torch.cat([batch.obs[:, 0], batch.action[:, 0], batch.obs[:, 1], batch.reward], 1)
    weight = poisson_weights(rows, 4).numpy()
    out = answers(model, x)[..., 4:]
    below = 0.5 - softplus(0.5 - out)
    variance = np.exp(-10 + softplus(below + 10))
    slope = 1 / (1 + np.exp(out - 0.5)) / (1 + np.exp(-below - 10))  # of the log-variance
    for training, w in ((True, weight), (False, np.ones((4, 64)))):
        each = w[..., None] * variance**0.5 / 4 / 256  # its power weighs, and is not itself learned from
        of_mean, of_variance = 2 * error / variance, (1 - error**2 / variance) * slope
        expected = np.concatenate([(each * of_mean).sum(1), (each * of_variance).sum(1)], 1)
        assert total[training][:, 0].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert len({tuple(row) for row in weight}) == 4


def test_statistics_leave_padding_out_and_survive_a_save_in_half_precision(tmp_path):
    model, stats = make(), statistics(recorded())
    obs = torch.tensor([[1e-9, 3e8, 7.0]])
    with torch.no_grad():
        model.reward_mean.fill_(1e-9)
        model.change_std.copy_(torch.tensor([1e-12, 1e12, 0]))
    for name in ("obs", "action"):
        assert getattr(model, f"{name}_mean").numpy() == pytest.approx(stats[name][0])
    starts = StartBank(tree_map(compact, model.observe(model.initial(1), torch.zeros(1, 2), obs, torch.ones(1).bool())),
                       torch.ones(1, dtype=torch.bool))  # fmt: skip
    twin = load(save_dream(tmp_path / "dream", model, starts)).model
    for name, value in model.named_buffers():
        assert torch.equal(getattr(twin, name), value)


def test_an_observation_is_the_state_that_it_leads_to():
    space = spaces.Dict({"arm": spaces.Box(-9, 9, (2,), np.float32), "dial": spaces.Box(0, 9, (1,), np.float32)})
    for features in ("raw", "standardised"):
        model = make(replace(SMALL, features=features), space)
        obs = {"arm": torch.tensor([[1.0, -90.0]]), "dial": torch.tensor([[7.5]])}
        state = model.observe(model.initial(1), torch.zeros(1, 2), obs, torch.tensor([True]))
        for name, part in model.decode(state).items():
            torch.testing.assert_close(part, obs[name])
        flat = torch.cat(list(obs.values()), 1)
        if features == "standardised":
            flat = (flat - model.obs_mean) / model.obs_std.where(model.obs_std > 0, torch.ones(3))
        torch.testing.assert_close(model.features(state), flat.float())


def test_gradients_of_a_dream_reach_the_actions_through_every_step():
    model = make()
    state, actions = model.initial(4), torch.zeros(3, 4, 2, requires_grad=True)
    for action in actions:
        out = model.step(state, action)
        state = out.state
    gradient = torch.autograd.grad(out.reward.sum() + out.termination.sum() + out.info["disagreement"].sum(), actions)[
        0
    ]
    assert (gradient.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("activation", ["tanh", "silu", "relu"])
@pytest.mark.parametrize("known", [False, True])
def test_a_state_that_is_not_finite_promises_no_number(activation, known):
    names = {"reward": "cart_pole", "termination": "never"} if known else {}
    model = make(replace(SMALL, activation=activation, **names))
    for value in (torch.nan, torch.inf):
        state = State(torch.tensor([[0.1, 0.2, 0.3], [0.0, value, 0.0]]), torch.zeros(2, dtype=torch.int64))
        out = model.step(state, torch.zeros(2, 2))
        assert out.reward.isfinite().tolist() == [True, False]
        assert out.termination.isfinite().tolist() == [True, False]


def test_a_member_that_diverges_ends_the_dreams_that_it_dreams_and_no_others():
    model = make()
    with torch.no_grad():
        model.net.biases[-1][2] = torch.inf
    seen = model.observe(model.initial(1), torch.zeros(1, 2), recorded().obs[:1, 0], torch.ones(1, dtype=torch.bool))
    simulator = Simulator(model, StartBank(seen, torch.ones(1, dtype=torch.bool)))
    lanes = simulator.begin(torch.arange(64))
    _, outcome = simulator.step(lanes, torch.zeros(64, 2))
    drawn = model.step(lanes.state, torch.zeros(64, 2), simulator._blocks.normal(
        lanes.seed, 0, lanes.count, model.noise_dim)).state.member  # fmt: skip
    assert torch.equal(outcome.diverged, drawn == 2)
    assert torch.equal(outcome.truncated, drawn == 2)
    assert 0 < outcome.diverged.sum() < 64


def test_known_functions_take_the_heads_places():
    def reward(obs, action, next_obs):
        return obs[:, 0] + 10 * action[:, 1] + 100 * next_obs[:, 0]

    model = make(reward_fn=reward, termination_fn=lambda obs, action, next_obs: (next_obs[:, 0] > 5).float())
    batch = recorded()
    state = model.observe(model.initial(64), batch.action[:, 0], batch.obs[:, 0], batch.is_first)
    out = model.step(state, batch.action[:, 0])
    after = model.decode(out.state)
    torch.testing.assert_close(out.reward, reward(batch.obs[:, 0], batch.action[:, 0], after))
    torch.testing.assert_close(out.termination, (after[:, 0] > 5).float())
    assert model.net.weights[-1].shape[2] == 6  # means and log-variances of three changes
    assert not hasattr(model, "ending")
    assert "termination" not in model.loss(inputs(model, batch), "ensemble")[1]


def test_a_dream_on_disk_names_known_functions_and_can_never_hold_one(tmp_path):
    def saved(model, name):
        seen = model.observe(model.initial(1), torch.zeros(1, 2), torch.zeros(1, 4), torch.ones(1, dtype=torch.bool))
        return save_dream(tmp_path / name, model, StartBank(seen, torch.ones(1, dtype=torch.bool)))

    env = gym.make("CartPole-v1")
    named = replace(SMALL, reward="cart_pole", termination="cart_pole")
    twin = load(saved(MlpEnsemble(named, env.observation_space, env.action_space), "named")).model
    assert twin.reward_fn(torch.zeros(2, 4), torch.zeros(2, 2), torch.zeros(2, 4)).tolist() == [1, 1]
    given = MlpEnsemble(SMALL, env.observation_space, env.action_space, reward_fn=twin.reward_fn)
    with pytest.raises(ValueError, match=r"reward is 'given': it was a Python function, which no file holds; pass rew"):
        load(saved(given, "given"))


def test_an_ensemble_of_one_tells_no_disagreement():
    for config in (replace(SMALL, num_members=1), replace(SMALL, num_elites=1)):
        model = make(config)
        assert "disagreement" not in model.step(model.initial(2), torch.zeros(2, 2)).info


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"propagation": "ts2"}, r"propagation is 'ts2'; expected one of 'ts1', 'tsinf'\."),
        ({"features": "all"}, r"features is 'all'; expected one of 'standardised', 'raw'\."),
        ({"activation": "gelu"}, r"activation is 'gelu'; expected one of tanh, relu, elu, silu\."),
        ({"beta_nll": -0.1}, r"beta_nll is -0\.1; expected a number in \[0, 1\]\."),
        ({"num_members": 0}, r"num_members is 0; expected at least 1\."),
        ({"num_elites": 5}, r"num_elites is 5; expected 1 to num_members, which is 4\."),
        ({"num_elites": 0}, r"num_elites is 0; expected 1 to num_members, which is 4\."),
        ({"reward": "os:remove"}, r"reward is 'os:remove'; expected one of 'learned', 'cart_pole', 'pendulum'\."),
        ({"termination": "pole"}, r"termination is 'pole'; expected one of 'learned', 'never', 'cart_pole', 'hopper'"),
    ],
)
def test_a_config_that_names_what_does_not_exist_is_refused(change, text):
    with pytest.raises(InvalidArgument, match=text):
        MlpEnsemble(replace(SMALL, **change), OBS, LEVER)


@pytest.mark.parametrize(
    ("space", "text"),
    [
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), r"pictures are not supported by mlp_ensemble, which reads vectors"),
        (spaces.Dict({"eye": spaces.Box(0, 255, (8, 8, 3), np.uint8)}), r"pictures are not supported by mlp_ensemble"),
        (spaces.Discrete(4), r"observation space Discrete\(4\) is not supported by mlp_ensemble, .* a Box of numbers"),
    ],
)
def test_observations_that_are_no_vectors_are_refused(space, text):
    with pytest.raises(UnsupportedSpace, match=text):
        MlpEnsemble(SMALL, space, LEVER)


def test_actions_that_cannot_be_taken_are_refused():
    with pytest.raises(UnsupportedSpace, match=r"action space MultiBinary\(3\) is not supported; expected a Box or"):
        build_model("mlp_ensemble", {}, OBS, spaces.MultiBinary(3))
