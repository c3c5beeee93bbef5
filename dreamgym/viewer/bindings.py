"""Which key gives which command. A key that drives gives none; its command is then on Ctrl and that key."""

from __future__ import annotations

from dataclasses import dataclass

import pygame

from dreamgym.viewer.keys import KeyMap

SIGNS = frozenset("[]-=+.1234")
"""Meant by what they write, wherever they lie on a keyboard."""


@dataclass(frozen=True)
class Command:
    """Something that a key does."""

    name: str
    keys: tuple[int, ...]
    """The first is the one that is told."""
    shown: str
    """That key, for people."""
    means: str
    group: str
    repeats: bool = False
    """Holding the key does it again and again."""


COMMANDS = (
    Command("pause", (pygame.K_SPACE,), "space", "pause", "time"),
    Command("step", (ord("."),), ".", "one step", "time", True),
    Command("rewind", (pygame.K_BACKSPACE,), "backspace", "one step back", "time", True),
    Command("save", (pygame.K_s,), "s", "keep this moment", "time"),
    Command("restore", (pygame.K_l,), "l", "return to it", "time"),
    Command("reset", (pygame.K_n,), "n", "new episode", "time"),
    Command("driver", (pygame.K_m,), "m", "you or the policy", "worlds"),
    Command("side", (pygame.K_TAB,), "tab", "dream or reality", "worlds"),
    Command("synchronise", (pygame.K_k,), "k", "dream follows reality", "worlds"),
    Command("fork", (pygame.K_f,), "f", "four futures, and back", "worlds"),
    Command("choose", tuple(map(ord, "1234")), "1 2 3 4", "go on with one", "worlds"),
    Command("variant", (pygame.K_v,), "v", "next variant", "worlds"),
    Command("warmer", (ord("]"),), "]", "temperature up", "knobs", True),
    Command("colder", (ord("["),), "[", "temperature down", "knobs", True),
    Command("faster", (ord("="), ord("+"), pygame.K_KP_PLUS), "=", "rate up", "knobs", True),
    Command("slower", (ord("-"), pygame.K_KP_MINUS), "-", "rate down", "knobs", True),
    Command("record", (pygame.K_r,), "r", "record a video", "window"),
    Command("fullscreen", (pygame.K_F11,), "F11", "full screen", "window"),
    Command("help", (pygame.K_h,), "h", "these keys", "window"),
    Command("quit", (pygame.K_q, pygame.K_ESCAPE), "q", "quit", "window"),
)
ALWAYS = {pygame.K_F5: "save", pygame.K_F9: "restore", pygame.K_F1: "help"}
BY_NAME = {command.name: command for command in COMMANDS}
_BY_KEY = {key: command.name for command in COMMANDS for key in command.keys} | ALWAYS


def code_of(event: pygame.event.Event) -> int:
    """Return what key was pressed; for signs what it writes."""
    written = getattr(event, "unicode", "")
    return ord(written) if written in SIGNS and written else int(event.key)


def command_of(code: int, ctrl: bool, keymap: KeyMap | None) -> str:
    """Return the name of the command that a key gives, or "" if it drives or has no meaning.

    Args:
        code: of the key, as `code_of` gives it.
        ctrl: whether Ctrl is held too.
        keymap: what drives.
    """
    return "" if drives(code, keymap) and not ctrl else _BY_KEY.get(code, "")


def drives(code: int, keymap: KeyMap | None) -> bool:
    """Return whether a key is at the wheel."""
    return keymap is not None and bool(keymap.used({code}))


def shown_key(command: Command, keymap: KeyMap | None) -> str:
    """Return how a command is given, for people."""
    return f"ctrl {command.shown}" if drives(command.keys[0], keymap) else command.shown


def help_groups(keymap: KeyMap | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return headings, each with its keys and what they do."""
    driving = [(keymap.names, "drive")] if keymap is not None else [("", "the policy drives")]
    groups: dict[str, list[tuple[str, str]]] = {"wheel": driving, "time": [], "worlds": [], "knobs": [], "window": []}
    for command in COMMANDS:
        if drives(command.keys[0], keymap) and command.name == "choose":
            continue
        groups[command.group].append((shown_key(command, keymap), command.means))
    return list(groups.items())
