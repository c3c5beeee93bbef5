"""Which key gives which command, beside keys that drive."""

import numpy as np
import pygame
import pytest
from gymnasium import spaces

from dreamgym.viewer.bindings import BY_NAME, COMMANDS, code_of, command_of, help_groups, shown_key
from dreamgym.viewer.keys import KeyMap

UP, DOWN, LEFT, RIGHT = pygame.K_UP, pygame.K_DOWN, pygame.K_LEFT, pygame.K_RIGHT
WHEEL = spaces.Box(-1.0, 1.0, (2,), np.float32)
CAR = KeyMap({(LEFT,): [-1, 0], (RIGHT,): [1, 0], (UP,): [0, 1], (DOWN,): [0, -1]}, WHEEL)
CART = KeyMap({(LEFT,): 0, (RIGHT,): 1}, spaces.Discrete(2))


def press(key, text=""):
    return pygame.event.Event(pygame.KEYDOWN, key=key, unicode=text, mod=0)


def test_a_key_has_one_command():
    keys = [key for command in COMMANDS for key in command.keys]
    assert len(keys) == len(set(keys))
    assert set(BY_NAME) == {command.name for command in COMMANDS}


def test_s_brakes_where_wasd_drives_and_saving_is_on_ctrl_s_and_f5():
    assert command_of(pygame.K_s, False, CAR) == ""
    assert command_of(pygame.K_s, True, CAR) == "save"
    assert command_of(pygame.K_F5, False, CAR) == "save"
    assert shown_key(BY_NAME["save"], CAR) == "ctrl s"


@pytest.mark.parametrize("keymap", [CART, None])
def test_s_saves_where_it_does_not_drive(keymap):
    assert command_of(pygame.K_s, False, keymap) == "save"
    assert shown_key(BY_NAME["save"], keymap) == "s"


@pytest.mark.parametrize("keymap", [CAR, CART, None])
def test_l_and_f9_restore_always(keymap):
    assert command_of(pygame.K_l, False, keymap) == command_of(pygame.K_F9, False, keymap) == "restore"
    assert command_of(pygame.K_l, True, keymap) == "restore"


def test_a_key_that_drives_never_gives_a_command_without_ctrl():
    keymap = KeyMap({(pygame.K_SPACE,): 0, (pygame.K_q,): 1}, spaces.Discrete(2))
    assert command_of(pygame.K_SPACE, False, keymap) == command_of(pygame.K_q, False, keymap) == ""
    assert command_of(pygame.K_SPACE, True, keymap) == "pause"
    assert command_of(pygame.K_ESCAPE, False, keymap) == "quit"


def test_a_sign_counts_wherever_it_lies_on_the_keyboard():
    assert command_of(code_of(press(pygame.K_8, "[")), False, CAR) == "colder"
    assert command_of(code_of(press(pygame.K_PLUS, "+")), False, CAR) == "faster"
    assert command_of(code_of(press(pygame.K_KP4, "4")), False, CAR) == "choose"
    assert command_of(code_of(press(pygame.K_SPACE, " ")), False, CAR) == "pause"


def test_a_key_without_meaning_does_nothing():
    assert command_of(pygame.K_y, False, CAR) == ""


@pytest.mark.parametrize("keymap", [CAR, CART, None])
def test_the_help_tells_every_command_as_it_is_given(keymap):
    told = {text: key for _, rows in help_groups(keymap) for key, text in rows}
    assert {command.means for command in COMMANDS} <= told.keys()
    assert told["keep this moment"] == ("ctrl s" if keymap is CAR else "s")


def test_the_help_names_the_keys_that_drive_or_says_that_there_are_none():
    assert help_groups(CAR)[0] == ("wheel", [(CAR.names, "drive")])
    assert help_groups(None)[0] == ("wheel", [("", "the policy drives")])
