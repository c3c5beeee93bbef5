"""Start banks: real states, chosen fairly, kept small, and never one in which an episode ended."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from gymnasium import spaces
from oracle import BUTTONS, LEVER, NUMBERS, PICTURES, Counted, counting_starts, counting_world

from dreamgym.core.codec import encode_action, encode_obs
from dreamgym.core.starts import StartBank, make_start_bank, observe_moments
from dreamgym.core.tree import concatenate, named_leaves
from dreamgym.errors import InvalidArgument, InvalidDataset
from dreamgym.models.rssm import Config, Rssm


def episode(length, start=0, action=1, space=NUMBERS):
    """Return what a `CountingWorld` shows in an episode from one of its starts."""
    t = np.arange(length + 1)
    numbers = np.stack([np.full_like(t, start), t, t * action, 0 * t], 1)
    obs = numbers.astype(np.float32)
    if space is PICTURES:
        obs = np.broadcast_to(numbers[:, None, None, :3], (length + 1, 4, 6, 3)).astype(np.uint8)
    return SimpleNamespace(obs=obs, action=np.full(length, action))


def test_an_episode_is_observed_as_it_would_be_step_by_step():
    model, one = counting_world(PICTURES), episode(6, start=3, action=2, space=PICTURES)
    states = observe_moments(model, [one], [np.arange(7)])
    assert len(states) == 7
    assert concatenate(states).t.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert concatenate(states).total.tolist() == [0, 2, 4, 6, 8, 10, 12]
    by_hand = model.initial(1)
    actions = encode_action(BUTTONS, one.action)
    for t in range(7):
        action = actions[t - 1 : t] if t else torch.zeros(1, 3)
        obs = encode_obs(PICTURES, one.obs[t : t + 1])
        by_hand = model.observe(by_hand, action, obs, torch.tensor([t == 0]), torch.zeros(1, 2))
        for a, b in zip(named_leaves(by_hand).values(), named_leaves(states[t]).values(), strict=True):
            assert torch.equal(a, b)


def test_episodes_side_by_side_are_observed_as_each_alone_whatever_their_lengths():
    torch.manual_seed(0)
    config = Config(groups=2, classes=3, deter_dim=8, hidden_dim=8)
    model = Rssm(config, spaces.Box(-9, 9, (2,)), spaces.Box(-1, 1, (3,))).eval()
    rng = np.random.default_rng(0)
    episodes = [
        SimpleNamespace(obs=rng.normal(size=(n + 1, 2)).astype(np.float32), action=rng.uniform(-1, 1, (n, 3)))
        for n in (6, 1, 9)
    ]
    wanted = [np.array([4, 0, 6]), np.array([1]), np.array([9, 3])]
    together = concatenate(observe_moments(model, episodes, wanted))
    by_hand = []
    with torch.no_grad():
        for one, moments in zip(episodes, wanted, strict=True):
            state, states = model.initial(1), []
            for t, obs in enumerate(encode_obs(model.observation_space, one.obs)):
                action = encode_action(model.action_space, one.action[t - 1 : t]) if t else torch.zeros(1, 3)
                state = model.observe(state, action, obs[None], torch.tensor([t == 0]), torch.zeros(1, model.noise_dim))
                states.append(state)
            by_hand += [states[t] for t in moments]
    for a, b in zip(named_leaves(together).values(), named_leaves(concatenate(by_hand)).values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_a_bank_is_reproducible_and_another_seed_is_another_bank():
    episodes = [episode(30, start=i) for i in range(9)]
    one, two, other = (make_start_bank(counting_world(), episodes, 60, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.states.start, two.states.start)
    assert torch.equal(one.states.t, two.states.t)
    assert not torch.equal(one.states.t, other.states.t)


def test_a_bank_holds_as_many_states_as_asked_and_no_situation_twice():
    bank = make_start_bank(counting_world(), [episode(50, start=i) for i in range(20)], 200)
    assert len(bank) == 200
    assert len(set(zip(bank.states.start.tolist(), bank.states.t.tolist(), strict=True))) == 200
    assert bank.is_first.sum() == 20
    assert (bank.is_first == (bank.states.t == 0)).all()


def test_a_bank_takes_all_there_is_where_there_is_too_little():
    bank = make_start_bank(counting_world(), [episode(4), episode(3, start=1)], 1000)
    found = sorted(zip(bank.states.start.tolist(), bank.states.t.tolist(), strict=True))
    assert found == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]


def test_a_state_in_which_an_episode_ended_is_never_chosen():
    lengths = [1, 2, 3, 9]
    for seed in range(20):
        episodes = [episode(length, start=i) for i, length in enumerate(lengths)]
        bank = make_start_bank(counting_world(), episodes, 30, seed=seed)
        for start, t in zip(bank.states.start.int().tolist(), bank.states.t.tolist(), strict=True):
            assert t < lengths[start]


def test_episodes_of_one_step_still_give_their_first_state():
    bank = make_start_bank(counting_world(), [episode(1, start=i) for i in range(3)], 10)
    assert bank.states.t.tolist() == [0.0]
    assert bank.is_first.tolist() == [True]


def test_no_episodes_make_no_bank():
    with pytest.raises(InvalidDataset, match="a start bank needs recorded episodes; got none"):
        make_start_bank(counting_world(), [])


def test_a_bank_is_kept_in_small_numbers_and_sampled_in_float32():
    bank = make_start_bank(counting_world(), [episode(30)], 20)
    states = bank.states  # the clock counts past 16, where 8 bits no longer hold each number; the walk is zeros
    assert (states.t.dtype, states.walk.dtype) == (torch.float16, torch.float8_e4m3fn)
    sampled = bank.sample(torch.rand(5))
    assert {leaf.dtype for leaf in named_leaves(sampled).values()} == {torch.float32}


def test_numbers_too_large_for_float16_are_kept_as_they_are():
    far = episode(5)
    far.obs[:, 0] = 1e6
    bank = make_start_bank(
        counting_world(action_space=LEVER), [SimpleNamespace(obs=far.obs, action=np.ones((5, 1)))], 9
    )
    assert bank.sample(torch.rand(3)).start.tolist() == [1e6] * 3
    assert bank.states.start.dtype == torch.float32


def test_class_indices_stay_integers():
    indices = StartBank(Counted(*[torch.tensor([4, 5])] * 4), torch.ones(2, dtype=torch.bool))
    assert indices.sample(torch.tensor([0.0, 0.9])).start.tolist() == [4, 5]
    assert indices.sample(torch.tensor([0.0])).start.dtype == torch.int64


def test_a_sample_covers_the_whole_bank_evenly_and_copies():
    bank = counting_starts(8)
    drawn = bank.sample(torch.rand(8000, generator=torch.Generator().manual_seed(0))).start
    assert (torch.bincount(drawn.long(), minlength=8) - 1000).abs().max() < 150
    assert bank.sample(torch.tensor([0.0, 1 - 2.0**-24, 0.125])).start.tolist() == [0, 7, 1]
    bank.sample(torch.zeros(1)).start.add_(9)
    assert bank.states.start[0] == 0


def test_only_first_keeps_the_states_that_open_an_episode():
    bank = counting_starts(6)
    assert bank.only("all") is bank
    assert bank.only("first").states.start.tolist() == [0, 2, 4]
    assert bank.only("first").is_first.all()


def test_a_choice_of_starts_that_is_none_is_refused():
    with pytest.raises(InvalidArgument, match="starts is 'best'; expected one of 'all', 'first'"):
        counting_starts().only("best")
    later = StartBank(counting_starts(2).states, torch.zeros(2, dtype=torch.bool))
    with pytest.raises(InvalidArgument, match="no state of the start bank opens an episode; use 'all'"):
        later.only("first")
