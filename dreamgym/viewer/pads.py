"""Game controllers, plugged in and out at any time."""

from __future__ import annotations

import pygame

from dreamgym.viewer.keys import Controller

# of a pad as SDL sees it: most have the left stick and the triggers here
STEER, LEFT_TRIGGER, RIGHT_TRIGGER, STICK = 0, 2, 5, 1
SOUTH, EAST = 0, 1  # buttons that drive on and brake where there are no triggers


class Pads:
    """The controllers that are plugged in; the one that was plugged in last drives."""

    def __init__(self) -> None:
        self._pads: dict[int, pygame.joystick.JoystickType] = {}
        try:
            pygame.joystick.init()
        except pygame.error:  # a machine without any such thing: keys are enough
            return

    def handle(self, event: pygame.event.Event) -> str:
        """Take note of a controller that comes or goes, and return what to tell the player."""
        if event.type == pygame.JOYDEVICEADDED:
            pad = pygame.joystick.Joystick(event.device_index)
            self._pads[pad.get_instance_id()] = pad
            return f"controller: {pad.get_name()}"
        if event.type == pygame.JOYDEVICEREMOVED and event.instance_id in self._pads:
            return f"{self._pads.pop(event.instance_id).get_name()} is gone"
        return ""

    def read(self) -> Controller | None:
        """Return how the controller is held, or None if there is none."""
        return read(list(self._pads.values())[-1]) if self._pads else None


def read(pad: pygame.joystick.JoystickType) -> Controller:
    """Return how a controller is held: left stick or cross steers, triggers or the lower buttons drive on and brake."""
    axes = [pad.get_axis(i) for i in range(pad.get_numaxes())]
    buttons = [pad.get_button(i) for i in range(pad.get_numbuttons())]
    cross = pad.get_hat(0) if pad.get_numhats() else (0, 0)
    steer = axes[STEER] if axes else 0.0
    up = down = 0.0
    if len(axes) > RIGHT_TRIGGER:  # triggers rest at -1; before they are touched some report 0
        up, down = ((axes[i] + 1) / 2 if axes[i] != 0 else 0.0 for i in (RIGHT_TRIGGER, LEFT_TRIGGER))
    elif len(axes) > STICK:
        up, down = max(0.0, -axes[STICK]), max(0.0, axes[STICK])
    if len(buttons) > EAST:
        up, down = max(up, float(buttons[SOUTH])), max(down, float(buttons[EAST]))
    return Controller(
        steer=float(cross[0] or steer),
        up=max(up, float(cross[1] > 0)),
        down=max(down, float(cross[1] < 0)),
    )
