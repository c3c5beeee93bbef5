"""The recurrent state-space model: shapes, filtering, and every term of its loss against NumPy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium import spaces

from dreamgym.core.check import check_world_model
from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.model import SequenceBatch
from dreamgym.core.tree import named_leaves, tree_map
from dreamgym.core.two_hot import two_hot_mean
from dreamgym.errors import InvalidArgument, UnsupportedSpace
from dreamgym.models.rssm import Config, Rssm, State
from dreamgym.models.rssm_sizes import dreamer_v1, dreamer_v2, dreamer_v3, planet

PICTURE = spaces.Box(0, 255, (32, 32, 3), np.uint8)
VECTOR = spaces.Box(-np.inf, np.inf, (3,), np.float32)
MIXED = spaces.Dict({"camera": PICTURE, "speed": VECTOR, "gear": spaces.Discrete(3)})
LEVER = spaces.Box(-2.0, 2.0, (2,), np.float32)
BUTTONS = spaces.Discrete(3)

CATEGORICAL = Config(groups=3, classes=4, deter_dim=8, hidden_dim=6, channels=(2, 3, 4, 5))
GAUSSIAN = replace(CATEGORICAL, latent="gaussian", groups=5, reward="squared", reward_scale=0.5, symlog=False)
BLOCKS = replace(
    CATEGORICAL, blocks=2, reward_scale=3.0, norm="rms", conv_norm="rms", prior_layers=2, vector_layers=2, head_dim=7
)
COUPLED = replace(CATEGORICAL, prior_draws=3, draw_dim=5)
VARIANTS = {"categorical": CATEGORICAL, "gaussian": GAUSSIAN, "blocks": BLOCKS, "coupled": COUPLED}
TERMS = ["reconstruction", "dynamics", "representation", "reward", "continue"]


def make(config=CATEGORICAL, observation_space=VECTOR, action_space=LEVER):
    """Return a model whose heads say something, as those of a new one do not."""
    torch.manual_seed(0)
    model = Rssm(config, observation_space, action_space)
    with torch.no_grad():
        for head in model.rewards:
            torch.nn.init.normal_(head[-1].weight, std=0.3)
        for layer in model.coupling.say if config.prior_draws > 1 else ():
            torch.nn.init.normal_(layer.weight, std=2.0)
    return model


def windows(model, batch_size=4, length=5):
    """Return random windows, the last two of which are padded."""
    generator = torch.Generator().manual_seed(1)
    space, num = model.observation_space, batch_size * (length + 1)
    space.seed(0)
    model.action_space.seed(0)
    samples = [space.sample() for _ in range(num)]
    parts = {name: np.stack([s[name] for s in samples]) for name in space} if isinstance(space, spaces.Dict) else None
    obs = encode_obs(space, np.stack(samples) if parts is None else parts)
    actions = np.stack([model.action_space.sample() for _ in range(batch_size * length)])
    mask = torch.ones(batch_size, length)
    mask[-1, 2:] = mask[-2, 4:] = 0
    return SequenceBatch(
        obs=tree_map(lambda x: x.unflatten(0, (batch_size, length + 1)), obs),
        action=encode_action(model.action_space, actions).unflatten(0, (batch_size, length)),
        reward=torch.randn(batch_size, length, generator=generator),
        terminated=(torch.rand(batch_size, length, generator=generator) < 0.3).float(),
        mask=mask,
        is_first=torch.tensor([True, False, True, False]),
    )


def losses(model, batch, seed=3):
    torch.manual_seed(seed)
    return model.loss(batch, "rssm")


def follow(model, batch, seed=3):
    """Return the states after each observation, with the noise that the loss draws after `seed`."""
    batch_size, length = batch.reward.shape
    torch.manual_seed(seed)
    noise = torch.randn(batch_size, length + 1, model.noise_dim)
    state, states = model.initial(batch_size), []
    for t in range(length + 1):
        action = batch.action[:, t - 1] if t else torch.zeros_like(batch.action[:, 0])
        first = torch.full((batch_size,), t == 0)
        state = model.observe(state, action, tree_map(lambda x, t=t: x[:, t], batch.obs), first, noise[:, t])
        states.append(state)
    return states


@pytest.mark.parametrize("action_space", [LEVER, BUTTONS], ids=["lever", "buttons"])
@pytest.mark.parametrize("observation_space", [PICTURE, VECTOR, MIXED], ids=["picture", "vector", "mixed"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_contract_is_kept(variant, observation_space, action_space):
    check_world_model(make(VARIANTS[variant], observation_space, action_space))


@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_are_those_of_the_letters(variant):
    config = VARIANTS[variant]
    model, batch = make(config), windows(make(config))
    width = 12 if variant != "gaussian" else 5
    state = follow(model, batch)[-1]
    transition = model.step(state, batch.action[:, 0])
    for reached in (model.initial(4), state, transition.state):
        assert named_leaves(reached).keys() == {"deter", "stoch"}
        assert reached.deter.shape == (4, 8)
        assert reached.stoch.shape == (4, width)
    assert transition.reward.shape == transition.termination.shape == (4,)
    assert model.noise_dim == config.groups
    assert model.features(state).shape == (4, model.feature_dim) == (4, 8 + width)
    assert torch.equal(model.features(state), torch.cat([state.deter, state.stoch], 1))
    narrow = make(replace(config, features="z"))
    assert torch.equal(narrow.features(state), state.stoch)
    assert narrow.feature_dim == width


def test_a_categorical_latent_is_one_class_of_each_group():
    model = make()
    state = follow(model, windows(model))[-1]
    for stoch in (state.stoch, model.step(state, torch.zeros(4, 2)).state.stoch):
        one_hot = stoch.detach().view(4, 4, 3)  # [B, K, G]
        torch.testing.assert_close(one_hot.sum(1), torch.ones(4, 3))
        torch.testing.assert_close(one_hot.amax(1), torch.ones(4, 3))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_observation_meets_exactly_empty_memories(variant):
    model = make(VARIANTS[variant], MIXED)
    batch = windows(model)
    old, obs = follow(model, batch)[-1], tree_map(lambda x: x[:, 0], batch.obs)
    noise, first = torch.randn(4, model.noise_dim), torch.ones(4, dtype=torch.bool)
    again = model.observe(old, 100 * torch.ones(4, 2), obs, first, noise)
    fresh = model.observe(model.initial(4), torch.zeros(4, 2), obs, ~first, noise)
    assert torch.equal(again.deter, fresh.deter)
    assert torch.equal(again.stoch, fresh.stoch)
    assert not torch.equal(model.observe(old, torch.zeros(4, 2), obs, ~first, noise).deter, fresh.deter)


@pytest.mark.parametrize("observation_space", [PICTURE, MIXED], ids=["picture", "mixed"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_windows_of_the_loss_are_filtered_as_observe_does_step_by_step(variant, observation_space):
    model = make(VARIANTS[variant], observation_space)
    batch = windows(model)
    code = model.encoder(tree_map(lambda x: x.flatten(0, 1), batch.obs)).unflatten(0, (4, -1))
    torch.manual_seed(3)
    deter, stoch, _ = model._filter(batch.action, code)
    for t, state in enumerate(follow(model, batch)):
        torch.testing.assert_close(deter[:, t], state.deter, rtol=0, atol=1e-5)
        torch.testing.assert_close(stoch[:, t], state.stoch, rtol=0, atol=1e-5)


def log_softmax(x, axis):
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def numpy_kl(config, posterior, prior):
    """Return KL(posterior || prior) of what the networks gave, in float64."""
    if config.latent == "gaussian":
        (m, s), (n, t) = (np.split(belief, 2, 1) for belief in (posterior, prior))
        s, t = (np.log1p(np.exp(x)) + 0.1 for x in (s, t))
        return (np.log(t / s) + (s**2 + (m - n) ** 2) / (2 * t**2) - 0.5).sum(1)
    p, q = (np.exp(log_softmax(x.reshape(-1, config.classes, config.groups), 1)) for x in (posterior, prior))
    p, q = ((1 - config.unimix) * x + config.unimix / config.classes for x in (p, q))
    return (p * np.log(p / q)).sum((1, 2))


def prior_belief(model, state):
    """Return the prior's logits, those of a group corrected by the groups before; each draw of COUPLED is of one."""
    logits = model.prior(state.deter)
    if model.config.prior_draws == 1:
        return logits
    hidden, groups = model.prior[:-1](state.deter), state.stoch.view(-1, 4, 3)
    logits = logits.view(-1, 4, 3).clone()
    for g, (read, say) in enumerate(zip(model.coupling.read, model.coupling.say, strict=True), 1):
        heard = model.coupling.listen(hidden)[:, 5 * (g - 1) : 5 * g]
        before = torch.cat([groups[:, :, i] for i in range(g)], 1)
        logits[:, :, g] += say(torch.nn.functional.silu(heard + read(before)))
    return logits.flatten(1)


def numpy_terms(model, batch):
    """Return the terms of the loss from states that were followed one by one."""
    config, states = model.config, follow(model, batch)
    exact = lambda x: x.detach().double().numpy()  # noqa: E731
    symlog = lambda x: np.sign(x) * np.log1p(np.abs(x)) if config.symlog else x  # noqa: E731
    seen, mask = np.concatenate([np.ones((4, 1)), exact(batch.mask)], 1), exact(batch.mask)
    error, kl, reward, ending = np.zeros((4, 6)), np.zeros((4, 6)), np.zeros((4, 5)), np.zeros((4, 5))
    for t, state in enumerate(states):
        full = torch.cat([state.deter, state.stoch], 1)
        error[:, t] = ((symlog(exact(model.decode(state))) - symlog(exact(batch.obs[:, t]))) ** 2).sum(1)
        posterior = model.posterior(torch.cat([state.deter, model.encoder(batch.obs[:, t])], 1))
        kl[:, t] = numpy_kl(config, exact(posterior), exact(prior_belief(model, state)))
        if t == 0:
            continue
        out, target = exact(model.rewards[0](full)), config.reward_scale * exact(batch.reward[:, t - 1])
        if config.reward == "squared":
            reward[:, t - 1] = (out[:, 0] - target) ** 2
        else:
            bins = np.sign(np.linspace(-20, 20, 255)) * np.expm1(np.abs(np.linspace(-20, 20, 255)))
            hot = np.stack([np.interp(target, bins, np.eye(255)[k]) for k in range(255)], 1)
            reward[:, t - 1] = -(hot * log_softmax(out, 1)).sum(1)
        p = 1 / (1 + np.exp(-exact(model.ending(full))[:, 0]))
        over = exact(batch.terminated[:, t - 1])
        ending[:, t - 1] = -(over * np.log(p) + (1 - over) * np.log(1 - p))
    mean = lambda x, mask: (x * mask).sum() / mask.sum()  # noqa: E731
    free = config.free_nats
    nats = mean(np.maximum(kl, free), seen) if config.free_nats_each else max(mean(kl, seen), free)
    return {
        "reconstruction": config.reconstruction_weight * mean(error, seen),
        "dynamics": config.dynamics_weight * nats,
        "representation": config.representation_weight * nats,
        "reward": config.reward_weight * mean(reward, mask),
        "continue": config.continue_weight * mean(ending, mask),
    }


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("free_nats", [0.0, 0.2, 100.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_term_of_the_loss_is_that_of_numpy(variant, free_nats, each):
    weights = {name: 0.3 + 0.2 * i for i, name in enumerate(Config.__annotations__) if name.endswith("_weight")}
    model = make(replace(VARIANTS[variant], free_nats=free_nats, free_nats_each=each, **weights))
    batch = windows(model)
    loss, terms = losses(model, batch)
    assert list(terms) == TERMS
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(numpy_terms(model, batch), rel=1e-4)
    assert loss.item() == pytest.approx(sum(term.item() for term in terms.values()), rel=1e-6)
    assert not any(term.requires_grad for term in terms.values())


def test_padding_costs_nothing():
    model = make(observation_space=MIXED)
    batch = windows(model)
    padding = batch.mask == 0
    other = replace(
        batch,
        reward=torch.where(padding, 1e5, batch.reward),
        terminated=torch.where(padding, 1 - batch.terminated, batch.terminated),
        action=torch.where(padding[..., None], 1.5, batch.action),
        obs={
            name: torch.cat([x[:, :1], torch.where(padding.view(4, 5, *[1] * (x.ndim - 2)), 0.5, x[:, 1:])], 1)
            for name, x in batch.obs.items()
        },
    )
    assert losses(model, other)[0].item() == pytest.approx(losses(model, batch)[0].item(), rel=1e-6)


def beliefs(model):
    """Return what the networks could have given for posterior and prior."""
    width = model.stoch_dim * (1 if model.categorical else 2)
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(6, width, generator=generator).requires_grad_() for _ in range(2)]


@pytest.mark.parametrize("variant", ["categorical", "gaussian"])
def test_the_dynamics_pull_the_prior_alone_and_the_representation_the_posterior_alone(variant):
    model = make(replace(VARIANTS[variant], unimix=0.0))
    posterior, prior = beliefs(model)
    dynamics, representation = model._divergences(posterior, prior)
    assert torch.equal(dynamics, representation)
    to_prior = torch.autograd.grad(dynamics.sum(), [posterior, prior], allow_unused=True)
    to_posterior = torch.autograd.grad(representation.sum(), [posterior, prior], allow_unused=True)
    assert to_prior[0] is None
    assert to_posterior[1] is None
    one, two = (x.detach().double().numpy() for x in (posterior, prior))
    if variant == "categorical":
        p, q = (np.exp(log_softmax(x.reshape(6, 4, 3), 1)) for x in (one, two))
        kl = (p * np.log(p / q)).sum(1, keepdims=True)
        expected_prior, expected_posterior = q - p, p * (np.log(p / q) - kl)
    else:
        (m, a), (n, b) = np.split(one, 2, 1), np.split(two, 2, 1)
        s, t = np.log1p(np.exp(a)) + 0.1, np.log1p(np.exp(b)) + 0.1
        slope_a, slope_b = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-b))
        expected_prior = np.stack([(n - m) / t**2, (1 / t - (s**2 + (m - n) ** 2) / t**3) * slope_b], 1)
        expected_posterior = np.stack([(m - n) / t**2, (s / t**2 - 1 / s) * slope_a], 1)
    assert to_prior[1].numpy() == pytest.approx(expected_prior.reshape(6, -1), rel=1e-5, abs=1e-5)
    assert to_posterior[0].numpy() == pytest.approx(expected_posterior.reshape(6, -1), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("variant", ["categorical", "gaussian"])
def test_weights_of_1_and_1_give_the_gradient_of_the_plain_divergence(variant):
    """The golden gradients above are those of the plain divergence, one side each: here autograd adds them up."""
    model = make(VARIANTS[variant])
    posterior, prior = beliefs(model)
    both = torch.autograd.grad(sum(model._divergences(posterior, prior)).sum(), [posterior, prior])
    step = 1e-6
    for side, gradient in enumerate(both):
        for column in range(0, gradient.shape[1], 5):
            values = []
            for sign in (1, -1):
                moved = [x.detach().double().numpy().copy() for x in (posterior, prior)]
                moved[side][:, column] += sign * step
                values.append(numpy_kl(model.config, *moved))
            slope = (values[0] - values[1]) / (2 * step)
            assert gradient[:, column].numpy() == pytest.approx(slope, abs=1e-4)


def prior_gradient(config):
    model = make(config)
    losses(model, windows(model))[0].backward()
    return torch.cat([p.grad.flatten() for p in model.prior.parameters()])


def test_the_prior_learns_in_proportion_to_the_weight_of_the_dynamics_alone():
    plain = replace(CATEGORICAL, free_nats=0.0, dynamics_weight=1.0, representation_weight=1.0)
    whole = prior_gradient(plain)
    balanced = prior_gradient(replace(plain, dynamics_weight=0.08, representation_weight=0.02))
    assert whole.abs().max() > 1e-3
    torch.testing.assert_close(balanced, 0.08 * whole)
    assert prior_gradient(replace(plain, dynamics_weight=0.0)).abs().max() == 0


@pytest.mark.parametrize("each", [False, True])
def test_free_nats_have_no_gradient(each):
    config = replace(CATEGORICAL, free_nats_each=each)
    assert prior_gradient(replace(config, free_nats=100.0)).abs().max() == 0
    assert prior_gradient(replace(config, free_nats=0.0)).abs().max() > 1e-3


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_dynamics_alone_do_not_teach_what_was_just_seen(variant):
    others = {f"{name}_weight": 0.0 for name in ("reconstruction", "representation", "reward", "continue")}
    model = make(replace(VARIANTS[variant], free_nats=0.0, dynamics_weight=1.0, **others))
    batch = windows(model)
    losses(model, replace(batch, mask=torch.zeros_like(batch.mask)))[0].backward()  # first observations alone
    assert all(weight.grad is None or not weight.grad.any() for weight in model.posterior.parameters())
    assert any(weight.grad.any() for weight in model.prior.parameters())


def test_the_prior_can_learn_where_the_posterior_has_free_nats():
    config = replace(CATEGORICAL, free_nats=100.0, dynamics_free_nats=0.0)
    model = make(config)
    terms = losses(model, windows(model))[1]
    assert terms["representation"] == pytest.approx(0.1 * 100)
    assert terms["dynamics"] < 0.5 * 100
    torch.testing.assert_close(prior_gradient(config), prior_gradient(replace(CATEGORICAL, free_nats=0.0)))


def test_free_nats_of_each_moment_spare_those_that_need_it():
    nats, mask = torch.tensor([0.1, 3.0, 0.3, 9.0]).requires_grad_(), torch.tensor([1.0, 1.0, 1.0, 0.0])
    one, all_ = make(replace(CATEGORICAL, free_nats_each=True)), make()
    cost = one._costly(nats, mask)
    assert cost.item() == pytest.approx((1 + 3 + 1) / 3)
    assert torch.autograd.grad(cost, nats)[0].tolist() == pytest.approx([0, 1 / 3, 0, 0])
    cost = all_._costly(nats, mask)
    assert cost.item() == pytest.approx(3.4 / 3)
    assert torch.autograd.grad(cost, nats)[0].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_no_class_is_held_for_impossible():
    model = make()
    certain = torch.full((1, 12), -1e4)
    certain[0, :3] = 1e4  # the first class of each group
    logs = model._log_probs(certain)[0]
    assert logs.exp().numpy() == pytest.approx(np.tile([0.9925, 0.0025, 0.0025, 0.0025], (3, 1)), rel=1e-5)
    dynamics, representation = model._divergences(certain, certain.flip(1))
    assert dynamics.item() == pytest.approx(3 * 0.99 * np.log(0.9925 / 0.0025), rel=1e-4)
    assert representation.isfinite().all()


def test_a_cold_dream_takes_the_likeliest_class_and_a_gaussian_one_its_mean():
    model = make()
    state, noise = follow(model, windows(model))[-1], torch.randn(4, 3)
    after = model.step(state, torch.ones(4, 2), noise, temperature=1e-3).state
    logits = model.prior(after.deter).view(4, 4, 3)
    cold = replace(CATEGORICAL, unimix=0.0)
    exact = make(cold).step(state, torch.ones(4, 2), noise, temperature=1e-3).state
    assert torch.equal(exact.stoch.detach().view(4, 4, 3).argmax(1), logits.argmax(1))

    model = make(GAUSSIAN)
    state, noise = follow(model, windows(model))[-1], torch.randn(4, 5)
    after = model.step(state, torch.ones(4, 2), noise, temperature=4.0).state
    mean, raw = model.prior(after.deter).chunk(2, 1)
    torch.testing.assert_close(after.stoch, mean + 2 * (torch.log1p(raw.exp()) + 0.1) * noise)


@pytest.mark.parametrize("variant", VARIANTS)
def test_noise_of_zeros_observes_the_likeliest_latent(variant):
    model = make(VARIANTS[variant])
    batch = windows(model)
    state = follow(model, batch)[-1]
    obs = batch.obs[:, 0]
    seen = model.observe(
        state, batch.action[:, 0], obs, torch.zeros(4, dtype=torch.bool), torch.zeros(4, model.noise_dim)
    )
    belief = model.posterior(torch.cat([seen.deter, model.encoder(obs)], 1))
    if variant == "gaussian":
        torch.testing.assert_close(seen.stoch, belief.chunk(2, 1)[0])
    else:
        assert torch.equal(seen.stoch.view(4, 4, 3).argmax(1), belief.view(4, 4, 3).argmax(1))


def test_rewards_and_endings_are_read_from_the_state_that_is_reached():
    for config in (CATEGORICAL, GAUSSIAN, replace(CATEGORICAL, reward_scale=0.5)):
        model = make(config)
        state = follow(model, windows(model))[-1]
        out = model.step(state, torch.ones(4, 2))
        full = torch.cat([out.state.deter, out.state.stoch], 1)
        torch.testing.assert_close(out.termination, model.ending(full)[:, 0].sigmoid())
        if config is GAUSSIAN:
            torch.testing.assert_close(out.reward, 2 * model.rewards[0](full)[:, 0])  # reward_scale is 0.5
        else:
            torch.testing.assert_close(out.reward, two_hot_mean(model.rewards[0](full)) / config.reward_scale)


def test_the_last_picture_is_not_learned_if_it_means_nothing():
    model = make(replace(CATEGORICAL, last_picture=False, free_nats=0.0), PICTURE)
    batch = windows(model)
    terminated = torch.zeros_like(batch.terminated)
    terminated[0, -1] = terminated[-1, 1] = 1  # the last steps of an episode, and of one that is padded behind it
    batch = replace(batch, terminated=terminated)
    obs = batch.obs.clone()
    obs[0, -1] = 1 - obs[0, -1]
    obs[-1, 2:] = 1 - obs[-1, 2:]
    other = replace(batch, obs=obs)
    torch.manual_seed(0)
    ours = model.loss(batch, "rssm")[1]
    torch.manual_seed(0)
    theirs = model.loss(other, "rssm")[1]
    for name in ("reconstruction", "dynamics", "representation"):
        torch.testing.assert_close(ours[name], theirs[name])
    shown = make(replace(CATEGORICAL, free_nats=0.0), PICTURE)
    torch.manual_seed(0)
    assert shown.loss(batch, "rssm")[1]["reconstruction"] != shown.loss(other, "rssm")[1]["reconstruction"]


def test_a_dream_may_spread_less_probability_evenly_than_it_learned_with():
    config = replace(CATEGORICAL, unimix=0.5)
    loud, quiet = make(config), make(replace(config, dream_unimix=0.0))
    state, action = loud.initial(2000), torch.zeros(2000, 2)
    with torch.no_grad():
        for model in (loud, quiet):
            model.prior[-1].bias.view(4, 3)[0] = 50.0  # every group holds its first class for certain
        first = [m.step(state, action).state.stoch.view(-1, 4, 3)[:, 0].mean() for m in (loud, quiet)]
    assert float(first[1]) == 1
    assert float(first[0]) == pytest.approx(0.5 + 0.5 / 4, abs=0.03)


def test_groups_that_know_of_each_other_come_up_together_as_often_as_the_prior_believes():
    config = replace(CATEGORICAL, groups=4, classes=2, prior_draws=2, unimix=0.0)
    model, lanes = make(config), 40_000
    state, action = model.initial(lanes), torch.zeros(lanes, 2)
    every = torch.cartesian_prod(*4 * [torch.arange(2)])  # [16, G]
    one_hot = torch.nn.functional.one_hot(every, 2).transpose(1, 2).float()  # [16, K, G]
    with torch.no_grad():
        for layer in model.coupling.say:
            layer.weight.mul_(3)
        torch.manual_seed(0)
        after = model.step(state, action).state
        belief = model._foresee(after.deter[:16], one_hot.flatten(1)).view(16, 2, 4).log_softmax(1)
        apart = model.prior(after.deter[:16]).view(16, 2, 4).log_softmax(1)
    expected, ignorant = ((logs * one_hot).sum((1, 2)).exp().numpy() for logs in (belief, apart))
    codes = after.stoch.view(lanes, 2, 4)[:, 1] @ torch.tensor([8.0, 4.0, 2.0, 1.0])
    share = np.bincount(codes.long().numpy(), minlength=16) / lanes
    assert expected.sum() == pytest.approx(1, abs=1e-5)
    assert share == pytest.approx(expected, abs=0.01)
    assert np.abs(share - ignorant).max() > 0.03  # groups drawn apart would come up otherwise


def test_a_new_coupling_changes_nothing_and_learns_what_groups_have_in_common():
    torch.manual_seed(0)
    plain, coupled = (Rssm(replace(CATEGORICAL, prior_draws=n, unimix=0.0), VECTOR, LEVER) for n in (1, 3))
    coupled.load_state_dict({**coupled.state_dict(), **plain.state_dict()})
    noise = torch.randn(500, 3)
    state = plain.initial(500)
    one, other = (model.step(state, torch.zeros(500, 2), noise) for model in (plain, coupled))
    assert torch.equal(one.state.stoch, other.state.stoch)

    deter = one.state.deter.detach()
    same = torch.nn.functional.one_hot(torch.randint(4, (500,)), 4).float()[:, :, None].expand(-1, 4, 3).flatten(1)
    optimizer = torch.optim.Adam([*coupled.prior.parameters(), *coupled.coupling.parameters()], 0.02)
    for _ in range(150):
        logs = coupled._foresee(deter, same).view(-1, 4, 3).log_softmax(1)
        loss = -(logs * same.view(-1, 4, 3)).sum((1, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(np.log(4), abs=0.1)  # of which of four; the rest follows
    drawn = coupled.step(state, torch.zeros(500, 2)).state.stoch.view(-1, 4, 3).argmax(1)
    assert (drawn == drawn[:, :1]).all(1).float().mean() > 0.95
    assert drawn[:, 0].bincount(minlength=4).min() > 60


def test_an_ending_read_from_the_memory_is_foreseen_before_the_next_picture():
    model = make(replace(CATEGORICAL, ending="memory"))
    batch = windows(model)
    state = follow(model, batch)[-1]
    one, other = (model.step(state, torch.ones(4, 2), torch.randn(4, model.noise_dim)) for _ in range(2))
    assert not torch.equal(one.state.stoch, other.state.stoch)
    assert torch.equal(one.termination, other.termination)
    torch.testing.assert_close(one.termination, model.ending(one.state.deter)[:, 0].sigmoid())
    memories = torch.stack([state.deter for state in follow(model, batch)], 1)[:, 1:].flatten(0, 1)  # [B * T, D]
    chance = model.ending(memories)[:, 0].sigmoid().detach().double().numpy()
    ended, mask = batch.terminated.flatten().double().numpy(), batch.mask.flatten().double().numpy()
    nats = -ended * np.log(chance) - (1 - ended) * np.log1p(-chance)
    assert losses(model, batch)[1]["continue"].item() == pytest.approx((nats * mask).sum() / mask.sum(), rel=1e-4)


def test_a_new_model_expects_no_reward():
    torch.manual_seed(0)
    model = Rssm(CATEGORICAL, VECTOR, LEVER)
    state = State(torch.randn(4, 8), torch.randn(4, 12))
    assert model.step(state, torch.ones(4, 2)).reward.abs().max() == 0


def test_gradients_of_a_dream_reach_the_actions_through_every_step():
    model = make()
    state, actions = follow(model, windows(model))[-1], torch.zeros(3, 4, 2, requires_grad=True)
    state = tree_map(torch.Tensor.detach, state)
    for action in actions:
        out = model.step(state, action)
        state = out.state
    gradient = torch.autograd.grad(out.reward.sum(), actions)[0]
    assert (gradient.abs().amax((1, 2)) > 0).all()


@pytest.mark.parametrize("preset", [planet, dreamer_v1, dreamer_v2, dreamer_v3])
def test_every_variant_of_the_papers_has_finite_losses_and_gradients(preset):
    model = Rssm(replace(preset("tiny"), channels=(2, 2, 2, 2)), MIXED, BUTTONS)
    loss, terms = losses(model, windows(model))
    loss.backward()
    assert list(terms) == TERMS
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"latent": "discrete"}, r"latent is 'discrete'; expected one of 'categorical', 'gaussian'\."),
        ({"reward": "mse"}, r"reward is 'mse'; expected one of 'two_hot', 'squared'\."),
        ({"ending": "latent"}, r"ending is 'latent'; expected one of 'state', 'memory'\."),
        ({"features": "h"}, r"features is 'h'; expected one of 'z', 'hz'\."),
        ({"activation": "gelu"}, r"activation is 'gelu'; expected one of 'tanh', 'relu', 'elu', 'silu'\."),
        (
            {"conv_activation": "gelu"},
            r"conv_activation is 'gelu'; expected one of None, 'tanh', 'relu', 'elu', 'silu'\.",
        ),
        ({"norm": "batch"}, r"norm is 'batch'; expected one of 'none', 'layer', 'rms'\."),
        ({"conv_norm": "batch"}, r"conv_norm is 'batch'; expected one of 'none', 'layer', 'rms'\."),
        ({"gates_norm": "batch"}, r"gates_norm is 'batch'; expected one of None, 'none', 'layer', 'rms'\."),
        ({"blocks": 3}, r"deter_dim is 8; expected a multiple of the 3 blocks\."),
        ({"prior_draws": 2}, r"prior_draws is 2; expected a divisor of the 3 groups\."),
        ({"prior_draws": 0}, r"prior_draws is 0; expected a divisor of the 3 groups\."),
        ({"prior_draws": 3, "latent": "gaussian"}, r"prior_draws is for categorical latents; a Gaussian one is drawn"),
        ({"reward_members": 0}, r"reward_members is 0; expected at least 1 head\."),
        ({"reward_scale": 0.0}, r"reward_scale is 0\.0; expected a finite number above 0\."),
        ({"unimix": 1.0}, r"unimix is 1\.0; expected a share in \[0, 1\)\."),
        ({"dream_unimix": -0.1}, r"dream_unimix is -0\.1; expected a share in \[0, 1\)\."),
    ],
)
def test_a_config_that_names_what_does_not_exist_is_refused(change, text):
    with pytest.raises(InvalidArgument, match=text):
        make(replace(CATEGORICAL, **change))


@pytest.mark.parametrize("space", [spaces.MultiBinary(3), spaces.Dict({"steer": LEVER})], ids=["binary", "dict"])
def test_actions_that_cannot_be_taken_are_refused(space):
    with pytest.raises(
        UnsupportedSpace, match=r"action space (MultiBinary|Dict).* is not supported; expected a Box or"
    ):
        make(action_space=space)
