"""The 2018 world model: the paper's sizes, the time convention, the losses, calibrated endings."""

import copy
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.core.check import check_world_model
from dreamgym.core.model import SequenceBatch
from dreamgym.core.tree import named_leaves
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.models.vae_mdn_rnn import Config, State, VaeMdnRnn, car_racing, doom

PICTURES = spaces.Box(0, 255, (64, 64, 3), np.uint8)
CAR = spaces.Box(-1.0, 1.0, (3,), np.float32)
SMALL = Config(latent_dim=6, hidden_dim=10, num_mixtures=3, channels=(2, 3, 4, 5))


def make(config=SMALL, action_space=CAR):
    torch.manual_seed(0)
    return VaeMdnRnn(config, PICTURES, action_space)


def inputs(model, lanes, seed=1):
    """Return a state, actions and noise."""
    g = torch.Generator().manual_seed(seed)
    z, d = model.config.latent_dim, model.config.hidden_dim
    state = State(*(torch.randn(lanes, n, generator=g) for n in (z, d, d)))
    return state, torch.rand(lanes, 3, generator=g), torch.randn(lanes, model.noise_dim, generator=g)


def sequences(model, batch_size=4, length=5, seed=2):
    """Return windows of latents as stage `mdn_rnn` gets them, nothing padded."""
    g = torch.Generator().manual_seed(seed)
    return SequenceBatch(
        obs=torch.randn(batch_size, length + 1, 2 * model.config.latent_dim, generator=g),
        action=torch.rand(batch_size, length, 3, generator=g),
        reward=torch.randn(batch_size, length, generator=g),
        terminated=torch.zeros(batch_size, length),
        mask=torch.ones(batch_size, length),
        is_first=torch.ones(batch_size, dtype=torch.bool),
    )


def count(parameters):
    return sum(p.numel() for p in parameters)


# the paper's tables; our heads for reward and termination, of D + 1 weights each, are counted where the paper has them
@pytest.mark.parametrize(
    ("config", "action_space", "sees", "dreams", "extra_heads"),
    [(car_racing(), CAR, 4_348_547, 422_368, 2), (doom(), spaces.Discrete(2), 4_446_915, 1_678_785, 1)],
)
def test_the_weights_are_as_many_as_in_the_paper(config, action_space, sees, dreams, extra_heads):
    model = make(config, action_space)
    assert count(model.stage_parameters("vae")) == sees
    assert count(model.stage_parameters("mdn_rnn")) - extra_heads * (config.hidden_dim + 1) == dreams
    assert count(model.parameters()) == sees + dreams + extra_heads * (config.hidden_dim + 1)


@pytest.mark.parametrize("num_mixtures", [1, 5])
@pytest.mark.parametrize("action_space", [CAR, spaces.Discrete(3)])
def test_the_contract_is_kept(num_mixtures, action_space):
    check_world_model(make(Config(hidden_dim=32, num_mixtures=num_mixtures, channels=(4, 4, 4, 4)), action_space))


@pytest.mark.parametrize("lanes", [1, 2, 9])
@pytest.mark.parametrize("temperature", [1.0, 1.3])
@pytest.mark.parametrize("num_mixtures", [1, 5])
def test_a_step_without_gradients_equals_one_with(lanes, temperature, num_mixtures):
    model = make(Config(num_mixtures=num_mixtures, channels=(2, 3, 4, 5), reward_scale=0.5))
    state, action, noise = inputs(model, lanes)
    with_gradients = model.step(state, action, noise, temperature)
    with torch.no_grad():
        without = model.step(state, action, noise, temperature)
    for name, leaf in named_leaves(with_gradients).items():
        torch.testing.assert_close(named_leaves(without)[name], leaf.detach(), rtol=0, atol=5e-6)


def test_a_lane_steps_the_same_alone_and_among_others():
    model = make(car_racing())
    state, action, noise = inputs(model, 40)
    with torch.no_grad():
        among = model.step(state, action, noise)
        alone = model.step(State(state.z[7:8], state.h[7:8], state.c[7:8]), action[7:8], noise[7:8])
    for name, leaf in named_leaves(alone).items():
        torch.testing.assert_close(leaf, named_leaves(among)[name][7:8], rtol=0, atol=5e-6)


@pytest.mark.parametrize("lanes", [1, 9])
def test_a_step_sees_a_change_of_the_weights(lanes):
    model = make(car_racing())
    state, action, noise = inputs(model, lanes)
    for weight in model.stage_parameters("mdn_rnn"):
        with torch.no_grad():
            before = model.step(state, action, noise)
            weight.add_(0.01)
            after = model.step(state, action, noise)
        assert (after.reward - before.reward).abs().max() > 1e-4
        torch.testing.assert_close(after.reward, model.step(state, action, noise).reward.detach(), rtol=0, atol=5e-6)


def test_a_copy_of_the_model_dreams_on_its_own():
    model = make(car_racing())
    state, action, noise = inputs(model, 1)
    with torch.no_grad():
        before = model.step(state, action, noise)
        twin = copy.deepcopy(model)
        twin.heads.bias.add_(1)
        assert torch.equal(model.step(state, action, noise).reward, before.reward)
        assert (twin.step(state, action, noise).reward - before.reward - 1).abs() < 1e-5
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_the_latent_of_now_enters_the_memory_with_the_next_action():
    """The time convention: h at t knows z and a up to t - 1; an observation changes z and leaves h alone."""
    model = make()
    state, action, noise = inputs(model, 4)
    pictures = torch.rand(2, 4, 3, 64, 64)
    not_first = torch.zeros(4, dtype=torch.bool)
    one, other = (model.observe(state, action, obs, not_first, noise) for obs in pictures)
    assert torch.equal(one.h, other.h)
    assert not torch.equal(one.z, other.z)
    assert torch.equal(one.h, model.step(state, action, noise).state.h)
    assert not torch.equal(model.step(one, action, noise).state.h, model.step(other, action, noise).state.h)


def test_where_an_episode_opens_the_memory_is_fresh_exactly():
    model = make()
    state, action, noise = inputs(model, 4)
    obs = torch.rand(4, 3, 64, 64)
    is_first = torch.tensor([True, False, True, False])
    got = model.observe(state, action, obs, is_first, noise)
    fresh = model.observe(model.initial(4), torch.zeros(4, 3), obs, torch.ones(4, dtype=torch.bool), noise)
    for name, leaf in named_leaves(got).items():
        assert torch.equal(leaf[is_first], named_leaves(fresh)[name][is_first]), name
    assert got.h[is_first].eq(0).all()
    assert got.c[is_first].eq(0).all()
    assert got.h[~is_first].ne(0).any()


def test_without_noise_of_its_own_the_posterior_is_its_mean():
    model = make()
    obs = torch.rand(2, 3, 64, 64)
    first = torch.ones(2, dtype=torch.bool)
    zeros = torch.zeros(2, model.noise_dim)
    mean, log_variance = model.vae.encode(obs)
    assert torch.equal(model.observe(model.initial(2), torch.zeros(2, 3), obs, first, zeros).z, mean)
    ones = model.observe(model.initial(2), torch.zeros(2, 3), obs, first, zeros + 1).z
    torch.testing.assert_close(ones, mean + (0.5 * log_variance).exp())


@pytest.mark.parametrize(("features", "parts"), [("z", "z"), ("zh", "zh"), ("zch", "zch")])
def test_features_are_the_parts_that_the_config_names(features, parts):
    model = make(Config(latent_dim=6, hidden_dim=10, channels=(2, 3, 4, 5), features=features))
    state, _, _ = inputs(model, 2)
    assert torch.equal(model.features(state), torch.cat([getattr(state, part) for part in parts], 1))
    assert model.feature_dim == model.features(state).shape[1]


def test_gradients_reach_the_action_and_every_part_of_the_state():
    model = make()
    state, action, noise = inputs(model, 2)
    leaves = [x.requires_grad_() for x in (state.z, state.h, state.c, action)]
    after = model.step(state, action, noise)
    for result in (after.state.z, after.reward, after.termination):
        for gradient in torch.autograd.grad(result.sum(), leaves, retain_graph=True):
            assert gradient.abs().sum() > 0
    assert torch.autograd.grad(model.decode(after.state).sum(), action)[0].abs().sum() > 0


def test_one_mixture_leaves_one_gaussian():
    model = make(Config(latent_dim=6, hidden_dim=10, num_mixtures=1, channels=(2, 3, 4, 5)))
    state, action, noise = inputs(model, 2)
    noise[:, 6:] = 0  # the offset; what would choose a component must not matter
    assert torch.equal(
        model.step(state, action, noise).state.z, model.step(state, action, noise * torch.randn(2, 12)).state.z
    )
    assert model.loss(sequences(model), "mdn_rnn")[0].isfinite()


def test_the_latent_term_is_the_gaussian_nll_where_there_is_one_mixture():
    model = make(Config(latent_dim=6, hidden_dim=10, num_mixtures=1, channels=(2, 3, 4, 5)))
    batch = sequences(model)
    batch.obs[..., 6:] = -60  # log-variance: the latents are their means
    _, terms = model.loss(batch, "mdn_rnn")
    means, state, expected = batch.obs[..., :6], model.initial(4), []
    for t in range(5):
        h, c = model.lstm.step([means[:, t], batch.action[:, t]], state.h, state.c)
        state = State(means[:, t + 1], h, c)
        _, mean, log_std = model.heads(h)[:, :18].chunk(3, 1)
        normal = torch.distributions.Normal(mean, log_std.exp())
        expected.append(-normal.log_prob(means[:, t + 1]).mean())
    torch.testing.assert_close(terms["latent"], torch.stack(expected).mean().detach())


def test_the_reward_is_in_units_of_the_env():
    model = make(Config(latent_dim=6, hidden_dim=10, channels=(2, 3, 4, 5), reward_scale=0.25))
    state, action, noise = inputs(model, 2)
    with torch.no_grad():
        model.heads.weight[-2].zero_()
        model.heads.bias[-2] = 1.5
    torch.testing.assert_close(model.step(state, action, noise).reward, torch.tensor([6.0, 6.0]))
    batch = sequences(model)
    batch.reward.fill_(6.0)
    assert model.loss(batch, "mdn_rnn")[1]["reward"] < 1e-10


def test_the_termination_is_a_probability_although_endings_weigh_ten_times():
    """Of 1,000 transitions that look alike 5% end: the loss is least where `step` says 0.05."""
    model = make()
    batch = sequences(model, batch_size=1000, length=1)
    batch.obs.zero_()
    batch.action.zero_()
    batch.terminated[:50] = 1
    model.heads.weight.data[-1].zero_()
    optimizer = torch.optim.Adam([model.heads.bias], 0.1)
    for _ in range(200):
        _, _, logit = model._predict(torch.zeros(1000, 10))
        weight = torch.where(batch.terminated[:, 0] > 0, 10.0, 1.0)
        surprise = torch.nn.functional.binary_cross_entropy_with_logits(logit, batch.terminated[:, 0], weight)
        optimizer.zero_grad()
        surprise.backward()
        optimizer.step()
    state, action, noise = inputs(model, 2)
    torch.testing.assert_close(model.step(state, action, noise).termination, torch.full((2,), 0.05), atol=1e-4, rtol=0)
    # the term of the loss is that surprise
    torch.testing.assert_close(model.loss(batch, "mdn_rnn")[1]["termination"], surprise.detach(), atol=1e-4, rtol=0)


def test_padding_does_not_change_the_loss():
    model = make()
    batch = sequences(model)
    batch.mask[1:, 3:] = 0
    torch.manual_seed(0)
    expected = model.loss(batch, "mdn_rnn")[0]
    batch.obs[1:, 4:] += 7
    batch.action[1:, 3:] = 3
    batch.reward[1:, 3:] = 100
    batch.terminated[1:, 3:] = 1
    torch.manual_seed(0)
    assert torch.equal(model.loss(batch, "mdn_rnn")[0], expected)
    batch.reward[0, 3] += 1
    torch.manual_seed(0)
    assert not torch.equal(model.loss(batch, "mdn_rnn")[0], expected)


def test_a_padded_picture_does_not_change_the_loss():
    model = make()
    pictures = torch.rand(2, 3, 3, 64, 64)
    batch = SequenceBatch(
        obs=pictures,
        action=torch.zeros(2, 2, 3),
        reward=torch.zeros(2, 2),
        terminated=torch.zeros(2, 2),
        mask=torch.tensor([[1.0, 1.0], [1.0, 0.0]]),
        is_first=torch.ones(2, dtype=torch.bool),
    )
    torch.manual_seed(0)
    expected = model.loss(batch, "vae")[0]
    pictures[1, 2] = 0
    torch.manual_seed(0)
    assert torch.equal(model.loss(batch, "vae")[0], expected)


def test_latents_are_drawn_anew_for_every_batch():
    model = make()
    batch = sequences(model)
    assert model.loss(batch, "mdn_rnn")[0] != model.loss(batch, "mdn_rnn")[0]


def single_pictures(batch_size=8):
    """Return what stage `vae` gets: blocks of colour, no actions."""
    torch.manual_seed(3)
    empty = torch.zeros(batch_size, 0)
    colours = torch.rand(batch_size, 1, 3, 2, 2).repeat_interleave(32, 3).repeat_interleave(32, 4)
    return SequenceBatch(
        obs=colours, action=torch.zeros(batch_size, 0, 3), reward=empty, terminated=empty, mask=empty,
        is_first=torch.ones(batch_size, dtype=torch.bool),
    )  # fmt: skip


def test_the_reconstruction_is_the_squared_error_summed_over_a_picture():
    model = make()
    with torch.no_grad():
        model.vae.up[-1].weight.zero_()
        model.vae.up[-1].bias.zero_()  # every pixel is 0.5
    batch = single_pictures()
    _, terms = model.loss(batch, "vae")
    expected = (batch.obs - 0.5).square().sum() / len(batch.obs)
    torch.testing.assert_close(terms["reconstruction"], expected)


def test_kl_below_the_tolerance_costs_nothing():
    model = make()
    with torch.no_grad():
        model.vae.code.weight.zero_()
        model.vae.code.bias.zero_()  # the prior itself
    assert model.loss(single_pictures(), "vae")[1]["kl"] == 0.5 * 6
    with torch.no_grad():
        model.vae.code.bias[:6] = 2.0  # each dimension is 2 from the prior's mean: 2 nats
    torch.testing.assert_close(model.loss(single_pictures(), "vae")[1]["kl"], torch.tensor(12.0))


@pytest.mark.parametrize(
    ("stage", "names"),
    [("vae", ["reconstruction", "kl"]), ("mdn_rnn", ["latent", "reward", "termination"])],
)
def test_each_stage_learns_and_touches_only_its_own_weights(stage, names):
    model = make()
    batch = single_pictures() if stage == "vae" else sequences(model)
    before = {name: p.clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.stage_parameters(stage), 3e-3)
    losses = []
    for _ in range(60):
        torch.manual_seed(5)
        loss, terms = model.loss(batch, stage)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert list(terms) == names
    assert not any(term.requires_grad for term in terms.values())
    assert math.isclose(sum(term.item() for term in terms.values()), losses[-1], rel_tol=1e-5)
    assert losses[-1] < 0.9 * losses[0]
    changed = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == ({"vae"} if stage == "vae" else {"lstm", "heads"})


def test_frames_are_encoded_once_for_the_memory():
    model = make()
    obs = torch.rand(3, 3, 64, 64)
    assert model.stage_inputs(obs, "vae") is None
    encoded = model.stage_inputs(obs, "mdn_rnn")
    assert encoded.shape == (3, 12)
    assert not encoded.requires_grad
    torch.testing.assert_close(encoded, torch.cat(model.vae.encode(obs), 1).detach())


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 255, (96, 96, 3), np.uint8), spaces.Box(0, 1, (64, 64, 3), np.float32), spaces.Discrete(4)]
)
def test_other_observations_are_refused(space):
    with pytest.raises(
        UnsupportedSpace, match=r"is not supported by vae_mdn_rnn; expected uint8 pictures \(64, 64, 3\)"
    ):
        VaeMdnRnn(SMALL, space, CAR)


def test_unknown_features_are_refused():
    with pytest.raises(InvalidArgument, match="features is 'hz'; expected one of 'z', 'zh', 'zch'"):
        make(Config(features="hz"))


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_lane_that_diverged_stays_so_without_a_warning(lanes, value):
    model = make(car_racing())
    state, action, noise = inputs(model, lanes)
    with torch.no_grad():
        model.heads.bias[320:480] = 1000.0  # the log-std: its exponential overflows
        assert not model.step(state, action, noise).state.z.isfinite().all()
        assert not model.step(State(state.z + value, state.h, state.c), action, noise).reward.isfinite().any()
