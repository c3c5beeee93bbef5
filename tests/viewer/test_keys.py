"""Keys and controllers become actions: what they mean, and how fast hands are."""

import itertools

import numpy as np
import pytest
from gymnasium import spaces

from dreamgym import load
from dreamgym.envs.keys import DOWN, LEFT, RIGHT, UP, default_keys
from dreamgym.envs.twin import keys_to_action
from dreamgym.errors import InvalidArgument
from dreamgym.real.dodge import DodgeEnv
from dreamgym.viewer.keys import Controller, Hands, KeyMap

W, A, S, D = map(ord, "wasd")
SPACE = ord(" ")
CAR = spaces.Box(np.float32([-1, 0, 0]), np.float32([1, 1, 1]))
BUTTONS = spaces.Discrete(3)
STEER, PEDALS = {(): 0, (LEFT,): -1, (RIGHT,): 1}, {(): (0, 0), (UP,): (1, 0), (DOWN,): (0, 0.8)}
KEYS = {turn + pedal: [STEER[turn], *PEDALS[pedal]] for turn in STEER for pedal in PEDALS}
LANDER = {(): 0, "a": 1, "w": 2, "d": 3}


@pytest.fixture
def car():
    return KeyMap(KEYS, CAR)


@pytest.fixture
def cart():
    return KeyMap(default_keys(spaces.Discrete(2)), spaces.Discrete(2))


@pytest.fixture
def dodge():
    return KeyMap(DodgeEnv().get_keys_to_action(), BUTTONS)


def near(action, expected):
    return np.asarray(action).tolist() == pytest.approx(expected, abs=1e-6)


# what keys mean


def test_keys_together_mean_what_the_map_says(car):
    assert near(car.target({LEFT}), [-1, 0, 0])
    assert near(car.target({RIGHT, DOWN}), [1, 0, 0.8])
    assert car.target({RIGHT, DOWN}).dtype == np.float32


def test_nobody_is_at_the_wheel_while_no_key_of_the_map_is_held(car):
    assert car.target(()) is None
    assert car.target({SPACE, ord("q")}) is None


def test_the_order_of_keys_is_of_no_importance(car):
    for held in itertools.permutations((LEFT, UP, SPACE)):
        assert near(car.target(held), [-1, 1, 0])


def test_a_foreign_key_takes_nothing_away(car):
    assert near(car.target({LEFT, SPACE}), [-1, 0, 0])


def test_the_largest_known_combination_counts():
    keys = KeyMap({"j": 0, "kl": 1, "jm": 2}, BUTTONS)
    for held, action in (("j", 0), ("jk", 0), ("lk", 1), ("jkl", 1), ("mj", 2)):
        assert keys.target([*map(ord, held)]) == action
    assert KeyMap({(): 2, "ab": 1}, BUTTONS).target({A}) == 2


def test_letters_stand_for_the_arrow_keys(car, cart):
    for letter, arrow in zip((W, A, S, D), (UP, LEFT, DOWN, RIGHT), strict=True):
        assert near(car.target({letter}), car.target({arrow}))
    assert near(car.target({A, UP}), [-1, 1, 0])
    assert near(car.target({A, LEFT}), [-1, 0, 0])
    assert (cart.target({A}), cart.target({D}), cart.target({W})) == (0, 1, None)


def test_the_arrow_keys_stand_for_letters_where_the_map_has_only_these(dodge):
    assert (dodge.target({A}), dodge.target({D})) == (1, 2)
    assert (dodge.target({LEFT}), dodge.target({RIGHT}), dodge.target({UP})) == (1, 2, None)


def test_letters_that_the_map_uses_are_no_arrow_keys():
    keys = KeyMap({(LEFT,): 0, (RIGHT,): 1, "a": 2}, BUTTONS)
    assert keys.target({A}) == 2
    assert keys.target({D}) is None


@pytest.mark.parametrize("pair", [(LEFT, RIGHT), (A, D), (LEFT, D), (LEFT, A, RIGHT)])
def test_opposite_keys_cancel_out(car, dodge, pair):
    assert near(car.target(pair), [0, 0, 0])
    assert near(car.target((*pair, UP)), [0, 1, 0])
    assert near(car.target((*pair, UP, DOWN)), [0, 0, 0])
    assert dodge.target(pair) == 0


def test_opposite_keys_of_buttons_that_cannot_be_let_go_mean_nothing(cart):
    assert cart.target({LEFT, RIGHT}) is None


def test_opposite_keys_that_the_map_knows_mean_what_it_says():
    both = KeyMap({(LEFT,): 0, (RIGHT,): 1, (LEFT, RIGHT): 2}, BUTTONS)
    assert both.target({RIGHT, LEFT}) == 2


def test_idle_is_what_the_map_says_of_no_key_or_nought_or_the_button_on_no_key(car, cart, dodge):
    assert KeyMap(LANDER, spaces.Discrete(4)).idle == 0
    assert near(KeyMap({(): [0.5], "a": [1.0]}, spaces.Box(-1, 1, (1,))).idle, [0.5])
    assert near(KeyMap({"a": [2.0]}, spaces.Box(1, 2, (1,))).idle, [1])
    assert near(car.idle, [0, 0, 0])
    assert (dodge.idle, cart.idle) == (0, None)


def test_an_action_handed_out_is_a_copy(car):
    for give in (lambda: car.target({LEFT}), lambda: car.idle, lambda: dict(car.listing)["left"]):
        before = give().copy()
        give()[:] = 9
        assert near(give(), before)


def test_the_keys_are_listed_for_people(car, cart, dodge):
    assert car.names == "arrows or W A S D"
    assert cart.names == "left right or A D"
    assert dodge.names == "A D or left right"
    assert KeyMap(default_keys(BUTTONS), BUTTONS).names == "1 2 3"
    assert KeyMap({(LEFT,): 0, (SPACE, LEFT): 1}, BUTTONS).names == "left space or A"
    assert cart.listing == [("left", 0), ("right", 1)]
    assert [name for name, _ in KeyMap({" d": 1, (1073742049,): 2, (9999999,): 0}, BUTTONS).listing] == [
        "space + D", "left shift", "key 9999999",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"a": 3}, r"the key map says that A means 3; expected one of Discrete\(3\)"),
        ({(): "nothing", "a": 1}, "the key map says that no key means nothing"),
        ({"ab": [1, 2]}, r"the key map says that A \+ B means \[1, 2\]"),
        ({}, "the key map has 0 keys"),
        ({(): 1}, "the key map has 0 keys"),
        (None, "the key map is a NoneType; expected a dict"),
        ({1.5: 1}, "the key map has the key 1.5"),
    ],
)
def test_a_key_map_that_cannot_be_played_is_refused(keys, fault):
    with pytest.raises(InvalidArgument, match=fault):
        KeyMap(keys, BUTTONS)


@pytest.mark.parametrize("action", [[0, 0], [0, 2, 0], [0, np.nan, 0], "left", None])
def test_an_action_of_another_shape_or_range_is_refused(action):
    with pytest.raises(InvalidArgument, match="the key map says that A means .*; expected one of Box"):
        KeyMap({"a": action}, CAR)


@pytest.mark.parametrize("name", ["DreamCarRacing-v0", "DreamCartPole-v0", "DreamDodge-v0", "DreamPendulum-v0"])
def test_every_dream_that_ships_is_steered_by_left_and_right(name):
    dream = load(name)
    keys = KeyMap(keys_to_action(dream, idle=True), dream.model.action_space)
    left, right = keys.target({LEFT}), keys.target({RIGHT})
    assert not np.array_equal(left, right)
    assert np.array_equal(left, keys.target({A}))
    assert all(dream.model.action_space.contains(action) for action in (left, right))


# what hands do with them


def test_a_wheel_turns_at_the_speed_of_hands(car):
    hands = Hands(car, CAR, attack=4, pedal=4, release=8)
    steering = [hands.act({LEFT}, None, 0.0625)[0] for _ in range(5)]
    assert near(steering, [-0.25, -0.5, -0.75, -1, -1])
    assert near(hands.act({UP}, None, 0.0625), [-0.5, 0.25, 0])
    assert near(hands.act({DOWN}, None, 0.03125), [-0.25, 0, 0.1])  # a quarter as far takes a quarter of the time


def test_a_foot_presses_a_pedal_slower_than_hands_turn_a_wheel_and_lets_go_as_fast(car):
    hands = Hands(car, CAR, attack=4, pedal=1, release=8)
    assert near(hands.act({UP, LEFT}, None, 0.0625), [-0.25, 0.0625, 0])
    assert near(hands.act({UP, LEFT}, None, 0.0625), [-0.5, 0.125, 0])
    assert near(hands.rest(0.0625), [0, 0, 0])


@pytest.mark.parametrize("reach", [0.25, 1.0])
def test_gentle_keys_are_moved_as_gently(reach):
    space = spaces.Box(-1, 1, (1,), np.float32)
    hands = Hands(KeyMap({(LEFT,): [-reach], (RIGHT,): [reach]}, space), space, attack=2, release=4)
    assert near([hands.act({RIGHT}, None, 0.125)[0] for _ in range(5)], reach * np.array([0.25, 0.5, 0.75, 1, 1]))
    assert near([hands.rest(0.125)[0] for _ in range(3)], reach * np.array([0.5, 0, 0]))


def test_a_tap_is_over_sooner_than_a_held_key_has_its_full_effect(car):
    hands = Hands(car, CAR)
    tapped = [hands.act({LEFT}, None, 0.1)[0], *(hands.rest(0.02)[0] for _ in range(5))]
    assert -0.3 < min(tapped) < -0.1
    assert tapped[-1] == 0
    held = [hands.act({LEFT}, None, 0.1)[0] for _ in range(6)]
    assert held[3] > -1
    assert held[-1] == -1


def test_many_short_moments_turn_it_as_far_as_a_long_one(car):
    for held in ([{LEFT}, {RIGHT}], [{LEFT, UP}, {RIGHT, DOWN}], [{LEFT}, {UP}]):
        long, short = Hands(car, CAR), Hands(car, CAR)
        for keys in held:
            at_once = long.act(keys, None, 0.16)
            for _ in range(16):
                little_by_little = short.act(keys, None, 0.01)
        assert near(little_by_little, at_once)


def test_from_left_to_right_it_goes_back_fast_and_on_at_its_speed(car):
    hands = Hands(car, CAR, attack=4, release=8)
    hands.follow(np.float32([-1, 0, 0]))
    assert near([hands.act({RIGHT}, None, 0.0625)[0] for _ in range(6)], [-0.5, 0, 0.25, 0.5, 0.75, 1])


def test_the_wheel_is_let_go_at_once(car):
    hands = Hands(car, CAR)
    assert hands.act({LEFT}, None, 1) is not None
    assert hands.act((), None, 0.01) is None
    assert hands.act({SPACE}, Controller(), 0.01) is None


def test_hands_go_on_from_what_was_done_last(car):
    hands = Hands(car, CAR, attack=4, pedal=4)
    hands.follow(np.float32([0.5, 0.25, 0]))
    assert near(hands.act({RIGHT, UP}, None, 0.0625), [0.75, 0.5, 0])
    hands.follow(None)
    assert near(hands.act({RIGHT, UP}, None, 0.0625), [0.25, 0.25, 0])


def test_hands_take_over_no_more_than_keys_can_do(car):
    hands = Hands(car, CAR, release=8)
    hands.follow(np.float32([1, 0, 1]))
    assert near(hands.rest(0.0625), [0.5, 0, 0.4])
    wheel = spaces.Box(-1, 1, (2,), np.float32)
    hands = Hands(KeyMap({(LEFT,): [-0.25, 0], (RIGHT,): [0.25, 0]}, wheel), wheel)
    hands.follow(np.float32([-1, 1]))
    assert near(hands.act({LEFT}, None, 0.1), [-0.25, 0])


def test_a_wheel_that_nobody_holds_goes_back_to_where_it_rests(car):
    hands = Hands(car, CAR, release=8)
    hands.follow(np.float32([-1, 0.75, 0]))
    assert near(hands.rest(0.0625), [-0.5, 0.25, 0])
    assert near(hands.rest(0.0625), [0, 0, 0])


def test_buttons_that_nobody_holds_are_let_go_if_they_can_be(cart, dodge):
    hands = Hands(dodge, BUTTONS)
    assert hands.act({LEFT}, None, 0.01) == 1
    assert hands.rest(0.01) == 0
    hands = Hands(cart, spaces.Discrete(2))
    assert hands.rest(0.01) is None
    assert hands.act({RIGHT}, None, 0.01) == 1
    assert hands.act({RIGHT, LEFT}, None, 0.01) is None
    assert hands.rest(0.01) == 1


def test_buttons_are_pressed_at_once(cart, dodge):
    assert Hands(cart, spaces.Discrete(2)).act({A}, None, 0.0) == 0
    assert Hands(dodge, BUTTONS).act({RIGHT}, None, 0.0) == 2


def test_a_number_that_has_one_value_or_no_bounds_moves_too():
    space = spaces.Box(np.float32([1, -np.inf]), np.float32([1, np.inf]))
    hands = Hands(KeyMap({"d": [1, 3]}, space), space, attack=4, pedal=4)
    assert near(hands.act({D}, None, 0.125), [1, 1.5])
    assert near(hands.act({D}, None, 10), [1, 3])


def test_a_box_of_whole_numbers_is_reached_at_once():
    space = spaces.Box(-3, 3, (1,), np.int64)
    hands = Hands(KeyMap(default_keys(space), space), space)
    assert hands.act({LEFT}, None, 0.001).tolist() == [-3]
    assert hands.act((), Controller(steer=0.6), 0.001).tolist() == [3]


@pytest.mark.parametrize("speeds", [{"attack": 0}, {"pedal": 0}, {"release": -1.0}])
def test_hands_that_do_not_move_are_refused(car, speeds):
    with pytest.raises(InvalidArgument, match="is .*; expected a positive number of times a second"):
        Hands(car, CAR, **speeds)


# controllers


def test_a_stick_is_followed_at_once_from_the_edge_of_its_dead_zone(car):
    hands = Hands(car, CAR)
    assert near(hands.act((), Controller(steer=-1), 0.001), [-1, 0, 0])
    assert near(hands.act((), Controller(steer=0.56), 0.001), [0.5, 0, 0])
    assert near(hands.act((), Controller(steer=0.34, up=0.56, down=1), 0.001), [0.25, 0.5, 0.8])
    assert hands.act((), Controller(steer=0.11, up=0.12, down=0.1), 0.001) is None
    assert near(hands.act((), Controller(steer=1.5, up=2.0), 0.001), [1, 1, 0])


def test_a_stick_takes_the_place_of_its_keys_and_of_no_others(car):
    hands = Hands(car, CAR)
    assert near(hands.act({LEFT, A, UP}, Controller(steer=0.56), 0.001), [0.5, 1, 0])
    assert near(hands.act({LEFT, UP}, Controller(down=1), 0.001), [-1, 0, 0.8])


def test_a_stick_moves_from_the_idle_action_to_that_of_the_key():
    space = spaces.Box(0, 10, (1,), np.float32)
    keys = KeyMap({(): [4], (LEFT,): [0], (RIGHT,): [10]}, space)
    hands = Hands(keys, space)
    assert near(hands.act((), Controller(steer=-0.56), 0.001), [2])
    assert near(hands.act((), Controller(steer=0.56), 0.001), [7])


def test_the_keys_go_on_from_the_stick(car):
    hands = Hands(car, CAR, attack=4)
    hands.act((), Controller(steer=-0.56), 0.001)
    assert near(hands.act({LEFT}, None, 0.0625), [-0.75, 0, 0])


def test_a_stick_presses_buttons_from_the_middle_on(cart, dodge):
    for keys, space, left, right in ((cart, spaces.Discrete(2), 0, 1), (dodge, BUTTONS, 1, 2)):
        hands = Hands(keys, space)
        assert hands.act((), Controller(steer=-0.5), 0.01) == left
        assert hands.act((), Controller(steer=0.7), 0.01) == right
        assert hands.act((), Controller(steer=0.4, up=1, down=1), 0.01) is None


def test_a_stick_that_means_nothing_leaves_the_wheel_alone():
    numbers = KeyMap(default_keys(BUTTONS), BUTTONS)
    assert Hands(numbers, BUTTONS).act((), Controller(steer=1), 0.01) is None
    space = spaces.Box(-1, 1, (1,), np.float32)
    keys = KeyMap(default_keys(space), space)
    assert Hands(keys, space).act((), Controller(up=1), 0.01) is None
