"""Game controllers: how they are read, and how they come and go. The pad is a stand-in: no machine of ours has one."""

from dataclasses import dataclass, field

import pygame
import pytest

from dreamgym.viewer.pads import Pads, read


@dataclass
class Pad:
    axes: list[float] = field(default_factory=lambda: [0.0] * 6)
    buttons: list[int] = field(default_factory=lambda: [0] * 10)
    hats: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])

    def get_axis(self, i):
        return self.axes[i]

    def get_numaxes(self):
        return len(self.axes)

    def get_button(self, i):
        return self.buttons[i]

    def get_numbuttons(self):
        return len(self.buttons)

    def get_hat(self, i):
        return self.hats[i]

    def get_numhats(self):
        return len(self.hats)


def test_a_pad_that_nobody_touches_does_nothing_even_before_its_triggers_report():
    for triggers in (0.0, -1.0):
        held = read(Pad(axes=[0.0, 0.0, triggers, 0.0, 0.0, triggers]))
        assert (held.steer, held.up, held.down) == (0.0, 0.0, 0.0)


def test_the_stick_steers_and_the_triggers_drive_on_and_brake():
    held = read(Pad(axes=[-0.7, 0.0, 0.0, 0.0, 0.0, 1.0]))
    assert (held.steer, held.up, held.down) == (-0.7, 1.0, 0.0)
    assert read(Pad(axes=[0.0, 0.0, 0.5, 0.0, 0.0, -1.0])).down == pytest.approx(0.75)


def test_the_cross_counts_as_arrow_keys():
    held = read(Pad(hats=[(1, -1)]))
    assert (held.steer, held.up, held.down) == (1.0, 0.0, 1.0)


def test_a_simple_joystick_has_a_stick_and_buttons():
    held = read(Pad(axes=[0.4, -0.9], buttons=[0, 1], hats=[]))
    assert (held.steer, held.up, held.down) == (0.4, 0.9, 1.0)


def test_a_thing_without_axes_and_buttons_does_nothing():
    held = read(Pad(axes=[], buttons=[], hats=[]))
    assert (held.steer, held.up, held.down) == (0.0, 0.0, 0.0)


def test_without_a_pad_there_is_nothing_to_read_and_an_unknown_one_that_goes_is_no_matter():
    pads = Pads()
    assert pads.handle(pygame.event.Event(pygame.JOYDEVICEREMOVED, instance_id=7)) == ""
    assert pads.handle(pygame.event.Event(pygame.KEYUP, key=1)) == ""
    assert pads.read() is None
    pygame.joystick.quit()
