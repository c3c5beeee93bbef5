"""Posterior states of batches, in a world that says which observation it has seen."""

import torch
from oracle import NUMBERS, counting_world

from dreamgym.core.filter import Filter, observe_batch, observe_real
from dreamgym.core.model import SequenceBatch

WORLD = counting_world(NUMBERS)


def batch():
    """Return two windows of three actions: one of a long episode, and one that ends with its second action."""
    obs = torch.zeros(2, 4, 4)
    obs[0, :, 0], obs[1, :, 0] = 7, 8
    action = torch.eye(3)[torch.tensor([[0, 1, 2], [2, 2, 0]])]
    return SequenceBatch(
        obs=obs,
        action=action,
        reward=torch.zeros(2, 3),
        terminated=torch.tensor([[0.0, 0, 0], [0, 1, 0]]),
        mask=torch.tensor([[1.0, 1, 1], [1, 1, 0]]),
        is_first=torch.tensor([False, True]),
    )


def test_states_lie_time_first_and_have_seen_the_action_that_led_to_them():
    state, _ = observe_batch(WORLD, batch())
    assert state.start.tolist() == [7, 8] * 4
    assert state.t.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert state.total.tolist() == [0, 0, 0, 2, 1, 4, 3, 4]


def test_imagination_begins_neither_in_padding_nor_after_an_end():
    _, valid = observe_batch(WORLD, batch())
    assert valid.view(4, 2).t().tolist() == [[True] * 4, [True, True, False, False]]


def test_states_of_a_batch_are_drawn_without_a_graph():
    model = counting_world(NUMBERS)
    model.tick.requires_grad_()
    state, _ = observe_batch(model, batch())
    assert not state.t.requires_grad


def test_a_filter_draws_what_the_noise_says_and_the_mean_without_it():
    obs = torch.zeros(4).numpy()
    assert Filter(WORLD).observe(obs, noise=torch.tensor([0.0, 2.5]))[3] == 2.5
    assert Filter(WORLD).observe(obs)[3] == 0.0


def test_several_real_episodes_are_followed_like_one():
    seen = [torch.tensor([start, 0.0, 0, 0]).numpy() for start in (3, 5)]
    begun = observe_real(WORLD, None, seen)
    assert (begun.start.tolist(), begun.t.tolist(), begun.total.tolist()) == ([3, 5], [0, 0], [0, 0])
    later = observe_real(WORLD, begun, seen, [2, 1])
    assert (later.start.tolist(), later.t.tolist(), later.total.tolist()) == ([3, 5], [1, 1], [2, 1])
    alone = Filter(WORLD)
    alone.observe(seen[0])
    assert alone.observe(seen[0], 2).tolist() == WORLD.features(later)[0].tolist()
    assert alone.observe(seen[1])[:3].tolist() == [5, 0, 0]  # the next episode
