"""What a player can do, in dreams that ship: no window is opened."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dreamgym.core.tree import leaves
from dreamgym.core.wrapper import ModelWrapper
from dreamgym.errors import InvalidArgument, PolicyMismatch
from dreamgym.hub import load
from dreamgym.viewer.session import FUTURES, REST, WARM_UP, Session
from dreamgym.viewer.worlds import fade

CAR, CART = "DreamCarRacing-v0", "DreamCartPole-v0"
LEFT, RIGHT, GAS = (np.array(a, np.float32) for a in ([-1, 0.2, 0], [1, 0.2, 0], [0, 0.6, 0]))


def steps(session, count, action=None):
    """Let exactly so many steps pass."""
    for _ in range(count):
        session.clock.restart()
        assert session.advance(1 / session.rate + 1e-9, action) == 1
    session.clock.restart()


def situation(session):
    return list(leaves(session.lines[0].world.moment))


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_seed_and_actions_dream_the_same_dream():
    one, other = (Session(CAR, seed=3) for _ in range(2))
    for session in (one, other):
        steps(session, 5, GAS)
        steps(session, 5)
    assert same(situation(one), situation(other))
    assert np.array_equal(one.panes()[0].picture, other.panes()[0].picture)
    assert not same(situation(one), situation(Session(CAR, seed=4)))


def test_a_picture_between_two_steps_ends_in_the_next_one():
    session = Session(CAR, seed=3)
    steps(session, 12, GAS)
    session.advance(0.9999 / session.rate, GAS)
    shown = session.panes()[0].picture.astype(int)
    session.clock.restart()
    before = session.panes()[0].picture.astype(int)
    steps(session, 1, GAS)
    after = session.panes()[0].picture.astype(int)
    assert abs(shown - after).max() <= 2
    assert abs(shown - before).max() > 20


def test_a_key_shows_in_the_next_picture_though_no_step_is_due():
    session = Session(CAR, seed=3)
    steps(session, 14, GAS)
    pictures = []
    for action in (LEFT, RIGHT):
        session.clock.restart()
        assert session.advance(0.5 / session.rate, action) == 0
        pictures.append(session.panes()[0].picture.astype(int))
    assert abs(pictures[0] - pictures[1]).max() > 20


def test_rewinding_restores_the_exact_state_and_forgets_what_was_recorded():
    session = Session(CAR, seed=5)
    steps(session, 4)
    kept, earned = situation(session), session.panes()[0].earned
    steps(session, 6, LEFT)
    assert not same(kept, situation(session))
    for _ in range(6):
        session.rewind()
    assert same(kept, situation(session))
    assert session.panes()[0].earned == earned
    assert session.panes()[0].steps == len(session.history) == 4
    for _ in range(5):
        session.rewind()
    assert session.panes()[0].steps == 0
    assert session.message == "this is as far back as it goes"


def test_a_kept_moment_is_returned_to_as_often_as_wanted():
    session = Session(CAR, seed=5)
    steps(session, 4)
    session.save()
    kept = situation(session)
    for action in (LEFT, RIGHT):
        steps(session, 3, action)
        session.restore()
        assert same(kept, situation(session))
        assert session.panes()[0].steps == 4
    session.reset()
    session.restore()
    assert same(kept, situation(session))


def test_from_a_kept_moment_time_goes_back_to_what_led_there():
    session = Session(CAR, seed=5)
    steps(session, 3)
    before = situation(session)
    steps(session, 1)
    session.save()
    for elsewhere in (lambda: steps(session, 3, LEFT), session.reset):
        elsewhere()
        session.restore()
        session.rewind()
        assert same(before, situation(session))
        assert session.panes()[0].steps == 3


def test_an_end_that_is_taken_back_is_not_recorded():
    found = []
    session = Session(CART, seed=0, ended=lambda side, trail: found.append(trail.episode()))
    while not session.panes()[0].over:
        session.advance(1 / session.rate, 0)
    session.rewind()
    length = session.panes()[0].steps
    steps(session, 1, 1)
    session.close()
    (episode,) = found
    assert len(episode) == length + 1
    assert episode.action[-1] == 1


def test_another_episode_is_left_where_a_kept_moment_is_returned_to():
    found = []
    session = Session(CART, seed=0, ended=lambda side, trail: found.append(len(trail)))
    steps(session, 3)
    session.save()
    session.reset()
    steps(session, 5)
    session.restore()
    steps(session, 1)
    session.close()
    assert found == [3, 5, 4]


def test_side_by_side_both_have_the_same_time_left():
    session = Session(CART, side="both", seed=1)
    assert session.lines[1].world.moment.elapsed.item() == WARM_UP
    session.close()


def test_four_futures_begin_in_one_moment_and_part_under_the_same_actions():
    session = Session(CAR, seed=6)
    steps(session, 10)
    before = session.panes()[0].picture
    session.fork()
    panes = session.panes()
    assert [pane.kind for pane in panes] == ["future"] * FUTURES
    assert all(np.array_equal(pane.picture, before) for pane in panes)
    steps(session, 15, GAS)
    pictures = [pane.picture for pane in session.panes()]
    assert len({picture.tobytes() for picture in pictures}) == FUTURES
    session.choose(2)
    assert abs(session.panes()[0].picture.astype(int) - pictures[2]).max() <= 1  # drawn alone, it may be rounded
    assert session.panes()[0].steps == 25


def test_a_chosen_future_is_wound_back_through_itself_into_the_past_before_it():
    session = Session(CAR, seed=6)
    pictures = []
    for _ in range(6):
        pictures.append(session.panes()[0].picture)
        steps(session, 1, GAS)
    before = situation(session)
    session.fork()
    for _ in range(4):
        pictures.append(session.panes()[2].picture)
        steps(session, 1, RIGHT)
    session.choose(2)
    for i in reversed(range(10)):
        session.rewind()
        pane = session.panes()[0]
        assert pane.steps == i
        assert abs(pane.picture.astype(int) - pictures[i]).max() <= 1  # drawn alone, it may be rounded
        assert len(session.history) == i
        if i == 5:
            steps(session, 1, GAS)
            assert same(before, situation(session))
            session.rewind()
    session.rewind()
    assert session.message == "this is as far back as it goes"


def test_futures_leave_the_moment_that_they_came_from_as_it_was():
    session = Session(CAR, seed=6)
    steps(session, 6)
    kept = situation(session)
    session.fork()
    steps(session, 3)
    session.fork()
    assert same(kept, situation(session))
    assert session.panes()[0].steps == 6


def test_side_by_side_begins_in_one_situation_and_takes_the_same_actions():
    session = Session(CAR, side="both", seed=1)
    real, dream = session.panes()
    assert (real.kind, dream.kind) == ("real", "dream")
    assert real.earned == dream.earned
    assert real.steps == WARM_UP
    assert np.abs(real.picture.astype(float) - dream.picture).mean() < 4  # of 255
    steps(session, 3, RIGHT)
    trails = [line.lanes[0].trail.episode() for line in session.lines]
    assert np.array_equal(trails[0].action[-3:], trails[1].action)
    steps(session, 15)
    session.synchronise()
    real, dream = session.panes()
    assert np.abs(real.picture.astype(float) - dream.picture).mean() < 4
    session.close()


def test_tab_goes_round_through_both_if_both_were_begun_with():
    session = Session(CART, side="both", seed=1)
    sides = []
    for _ in range(3):
        session.toggle_side()
        steps(session, 2)
        sides.append([pane.kind for pane in session.panes()])
    assert sides == [["dream"], ["real"], ["real", "dream"]]
    session.close()


def test_the_policy_looks_before_each_step_that_leads_to_the_shared_moment():
    session = Session(CART, side="both", seed=1)
    actions = session.lines[0].lanes[0].trail.episode().action
    assert len(actions) == WARM_UP
    assert len(set(actions.tolist())) == 2  # who repeats one action, falls
    session.close()


def test_the_strips_forget_the_futures_and_stop_where_the_foremost_world_ends():
    session = Session(CAR, seed=6)
    steps(session, 6)
    session.fork()
    steps(session, 3)
    session.fork()
    assert len(session.history) == 6
    cart = Session(CART, side="both", seed=0)
    while not cart.panes()[0].over:
        cart.advance(1 / cart.rate, 0)
    seen = list(cart.history)
    cart.step_once()
    assert list(cart.history) == seen
    cart.close()


def test_what_was_done_last_is_told():
    session = Session(CAR, seed=6)
    assert session.last_action is None
    steps(session, 1, LEFT)
    assert np.array_equal(session.last_action, LEFT)
    session.reset()
    assert session.last_action is None


def test_the_policy_drives_on_when_the_keys_are_let_go():
    session = Session(CART, seed=0)
    steps(session, 60)
    assert not session.panes()[0].over
    session.toggle_driver()
    assert session.message == "you drive"
    steps(session, 1, 1)
    for _ in range(60):  # the last button stays down, and the pole falls
        session.advance(1 / session.rate + 1e-9)
    assert session.lines[0].over == "terminated" or session.panes()[0].steps < 100


def test_the_next_episode_begins_after_a_rest():
    session = Session(CART, seed=0)
    while not session.panes()[0].over:
        session.advance(1 / session.rate, 0)
    assert session.panes()[0].over == "terminated"
    picture = session.panes()[0].picture
    session.advance(REST / 2)
    assert np.array_equal(session.panes()[0].picture, picture)
    session.advance(REST)
    assert session.panes()[0].steps == 0
    assert session.seed == 1


def test_every_episode_is_handed_in_once():
    found = []
    session = Session(CART, seed=0, ended=lambda side, trail: found.append((side, trail.episode())))
    while not session.panes()[0].over:
        session.advance(1 / session.rate, 0)
    session.advance(REST + 0.01)
    steps(session, 7)
    session.close()
    (side, first), (_, second) = found
    assert side == "dream"
    assert first.terminated
    assert not second.terminated
    assert second.truncated
    assert len(second) == 7
    assert first.meta["seed"] == 0


def test_time_stands_still_while_paused_and_goes_on_step_by_step():
    session = Session(CART, seed=0)
    session.pause()
    assert session.advance(1.0) == 0
    session.step_once()
    assert session.panes()[0].steps == 1
    session.pause()
    steps(session, 1)


def test_reality_is_another_side_that_cannot_be_wound_back():
    session = Session(CART, seed=2)
    steps(session, 3)
    session.toggle_side()
    assert session.panes()[0].kind == "real"
    steps(session, 5)
    for command in (session.rewind, session.save, session.restore, session.fork):
        command()
        assert "dream" in session.message
        assert session.panes()[0].steps == 5
    session.toggle_side()
    assert session.panes()[0].kind == "dream"
    assert session.panes()[0].steps == 3
    session.close()


def test_a_warmer_dream_goes_on_from_where_it_was_and_elsewhere():
    futures = []
    for temperature in (1.0, 1.0, 1.8):
        session = Session(CAR, seed=3)
        steps(session, 5, GAS)
        kept = situation(session)
        session.temperature = temperature
        assert session.temperature == temperature
        assert same(kept, situation(session))
        steps(session, 5, GAS)
        futures.append(situation(session))
    assert same(futures[0], futures[1])
    assert not same(futures[0], futures[2])


def test_knobs_stay_within_what_can_be_played():
    session = Session(CART)
    session.rate, session.temperature = 1e9, 0.0
    assert session.rate == 120
    assert session.temperature == pytest.approx(0.1)


def test_another_variant_is_dreamed_from_the_beginning():
    session = Session(CAR, seed=3)
    steps(session, 3)
    session.temperature = 1.3
    session.change_variant()
    assert session.variant == "vae_mdn_rnn"
    assert session.panes()[0].steps == 0
    assert session.temperature == 1.3
    steps(session, 3)
    session.restore()
    assert "no moment" in session.message
    pendulum = Session("DreamPendulum-v0")
    pendulum.change_variant()
    assert pendulum.message == "DreamPendulum-v0 has one variant"


def test_what_cannot_be_played_is_refused():
    with pytest.raises(InvalidArgument, match="side is 'left'; expected one of 'dream', 'real', 'both'"):
        Session(CART, side="left")


def test_a_fade_keeps_the_dtype_and_the_parts():
    before, after = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert np.array_equal(fade(before, after, 0.25), np.full((2, 2, 3), 50, np.uint8))
    assert fade({"gear": np.int64(1)}, {"gear": np.int64(2)}, 0.9) == {"gear": 1}
    assert fade({"x": np.zeros(2)}, {"x": np.ones(2)}, 0.25)["x"].tolist() == [0.25, 0.25]


class Bursting(ModelWrapper):
    """A dream that leaves the finite numbers at the first full gas."""

    def step(self, state, action, noise=None, temperature=1.0):
        out = self.model.step(state, action, noise, temperature)
        return replace(out, reward=out.reward / (action[:, 1] < 1).float())


def test_a_dream_that_diverges_is_cut_off_and_the_next_one_begins():
    dream = load(CAR)
    session = Session(replace(dream, model=Bursting(dream.model)), seed=3)
    steps(session, 3, GAS)
    earned = session.panes()[0].earned
    steps(session, 1, np.float32([0, 1, 0]))
    assert session.panes()[0].over == "diverged"
    assert session.message == "the dream left the finite numbers and was cut off there"
    assert session.panes()[0].earned == earned
    session.advance(REST)
    assert session.panes()[0].over == ""


def test_the_policy_of_another_dream_is_refused():
    with pytest.raises(PolicyMismatch, match="the policy acts in Discrete"):
        Session(CAR, policy=load(CART).folder / "policy.safetensors")
