"""The usual keys of plain action spaces, and the forms in which Gymnasium takes keys."""

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium import spaces

from dreamgym.envs.keys import DOWN, LEFT, RIGHT, UP, combination, combinations, default_keys
from dreamgym.errors import InvalidArgument


def test_the_arrow_keys_are_pygames():
    assert (UP, DOWN, LEFT, RIGHT) == (pygame.K_UP, pygame.K_DOWN, pygame.K_LEFT, pygame.K_RIGHT)


@pytest.mark.parametrize("start", [0, 4])
def test_of_two_actions_the_left_arrow_is_the_first(start):
    assert default_keys(spaces.Discrete(2, start=start)) == {(LEFT,): start, (RIGHT,): start + 1}


@pytest.mark.parametrize("n", [1, 3, 9])
def test_further_actions_are_numbered(n):
    keys = default_keys(spaces.Discrete(n, start=-1))
    assert keys == {(pygame.K_1 + i,): i - 1 for i in range(n)}


def test_one_number_goes_from_its_lowest_to_its_highest():
    keys = default_keys(spaces.Box(-2, 3, (1,), np.float32))
    assert {held: action.tolist() for held, action in keys.items()} == {
        (): [0], (LEFT,): [-2], (RIGHT,): [3], (RIGHT, LEFT): [0],
    }  # fmt: skip


@pytest.mark.parametrize(("low", "high", "idle"), [(1, 3, 1), (-3, -2, -2), (0, 1, 0)])
def test_a_number_that_cannot_be_0_rests_as_near_to_it_as_it_can(low, high, idle):
    keys = default_keys(spaces.Box(low, high, (1,), np.float32))
    assert (keys[()].item(), keys[(RIGHT, LEFT)].item()) == (idle, idle)


def test_two_numbers_go_left_and_right_and_down_and_up():
    space = spaces.Box(np.float32([-1, -2]), np.float32([3, 4]))
    keys = default_keys(space)
    assert keys[(LEFT,)].tolist() == [-1, 0]
    assert keys[(UP,)].tolist() == [0, 4]
    assert keys[(RIGHT, DOWN)].tolist() == [3, -2]
    assert keys[(RIGHT, LEFT, UP)].tolist() == [0, 4]
    assert len(keys) == 16
    assert all(list(held) == sorted(held) and space.contains(action) for held, action in keys.items())


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(10),
        spaces.Box(-np.inf, np.inf, (1,)),
        spaces.Box(np.float32([-1, -1]), np.float32([1, np.inf])),
        spaces.Box(-1, 1, (3,)),
        spaces.Box(-1, 1, (1, 1)),
        spaces.Box(-1, 1, ()),
        spaces.MultiBinary(2),
    ],
    ids=str,
)
def test_no_keys_are_usual_for_other_spaces(space):
    with pytest.raises(InvalidArgument, match="no keys are usual for .*; expected Discrete up to 9, or a bounded Box"):
        default_keys(space)


@pytest.mark.parametrize(
    ("given", "codes"),
    [("da", (97, 100)), (("d", "a"), (97, 100)), ((100, "a"), (97, 100)), (97, (97,)), ("", ()), ((), ())],
)
def test_every_form_of_a_combination_is_known(given, codes):
    assert combination(given) == codes


def test_the_arrow_keys_of_pygame_1_are_those_of_pygame_2():
    keys = combinations(gym.make("MountainCar-v0").get_wrapper_attr("get_keys_to_action")())
    assert keys == {(): 1, (LEFT,): 0, (RIGHT,): 2, (RIGHT, LEFT): 1}


@pytest.mark.parametrize("key", [None, 1.5, ("ab",), (True,), ((97,),)])
def test_what_is_no_key_is_refused(key):
    with pytest.raises(InvalidArgument, match="the key map has the key .*; expected pygame's code of a key"):
        combinations({key: 0})


def test_what_is_no_key_map_is_refused():
    with pytest.raises(InvalidArgument, match="the key map is a list; expected a dict"):
        combinations([("a", 1)])
