"""Keys and game controllers become actions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from dreamgym.envs.keys import DOWN, LEFT, RIGHT, UP, Combination, combinations
from dreamgym.errors import InvalidArgument

ARROWS = (UP, LEFT, DOWN, RIGHT)
LETTERS = (ord("w"), ord("a"), ord("s"), ord("d"))
OPPOSITES = ((LEFT, RIGHT), (UP, DOWN), (ord("a"), ord("d")), (ord("w"), ord("s")))
DEAD_ZONE = 0.12  # of a stick that nobody touches
PRESSED = 0.5  # a stick or trigger beyond it counts as a button
NAMES = {
    LEFT: "left", RIGHT: "right", UP: "up", DOWN: "down", 8: "backspace", 9: "tab", 13: "enter", 27: "escape",
    32: "space", 1073742048: "left ctrl", 1073742049: "left shift", 1073742050: "left alt",
    1073742052: "right ctrl", 1073742053: "right shift", 1073742054: "right alt",
}  # fmt: skip


class KeyMap:
    """What held keys mean.

    W, A, S and D stand for the arrow keys where the map does not use those letters itself; where it uses them and no
    arrow keys, the arrow keys stand for them.

    Args:
        keys: combinations of keys to actions, in any form that `gymnasium.utils.play` takes; `()` is for no key.
        action_space: of the actions.

    Raises:
        InvalidArgument: if `keys` is no key map, or `check` finds a fault.
    """

    def __init__(self, keys: Mapping[Any, Any], action_space: Space[Any]) -> None:
        self.space = action_space
        self._actions = {held: self._as_action(action) for held, action in combinations(keys).items()}
        self.keys = frozenset(key for held in self._actions for key in held)
        """The codes of the map's keys, without aliases."""
        self._aliases: dict[int, int] = {}
        for these, those in ((LETTERS, ARROWS), (ARROWS, LETTERS)):
            if self.keys.isdisjoint(these):
                self._aliases |= {this: that for this, that in zip(these, those, strict=True) if that in self.keys}
        self.check()

    def check(self) -> None:
        """Find the faults of the map.

        Raises:
            InvalidArgument: if it has no key, or one of its actions is none of the action space.
        """
        if not self.keys:
            raise InvalidArgument("the key map has 0 keys; expected at least one.")
        for held, action in self._actions.items():
            no_array = isinstance(self.space, spaces.Box) and not isinstance(action, np.ndarray)
            if no_array or not self.space.contains(action):
                name = _name(held) or "no key"
                raise InvalidArgument(f"the key map says that {name} means {action}; expected one of {self.space}.")

    @property
    def idle(self) -> Any:
        """The action when nobody acts; None where buttons cannot be let go: then the last action is repeated.

        It is what the map says for `()`; or else zeros, or the first button, unless it is on a key as well.
        """
        if () in self._actions:
            return self._copy(self._actions[()])
        if isinstance(self.space, spaces.Box):
            return np.clip(np.zeros(self.space.shape, self.space.dtype), self.space.low, self.space.high)
        if isinstance(self.space, spaces.Discrete) and self.space.start not in self._actions.values():
            return int(self.space.start)
        return None

    def target(self, held: Collection[int]) -> Any:
        """Return the action that held keys mean, or None if none of them is in the map: nobody is at the wheel.

        Keys that have no meaning together count as the largest combination among them that has one; opposite arrows
        cancel each other out. Keys are held but nothing is left of them: that means `idle`.
        """
        keys = self.used(held)
        if not keys:
            return None
        for pair in OPPOSITES:
            if keys >= set(pair) and not any(known >= set(pair) for known in map(set, self._actions)):
                keys -= set(pair)
        known = [combination for combination in self._actions if combination and keys.issuperset(combination)]
        return self._copy(self._actions[max(known, key=len)]) if known else self.idle

    def used(self, held: Collection[int]) -> set[int]:
        """Return which keys of the map are held; aliases count as the keys that they stand for."""
        return {self._aliases.get(key, key) for key in held} & self.keys

    @property
    def names(self) -> str:
        """The keys in one line for people: "arrows or W A S D", "1 2 3"."""
        parts = [_list(self.keys.intersection(group)) for group in (ARROWS, LETTERS)]
        aliases = _list(self._aliases)
        others = _list(self.keys - {*ARROWS, *LETTERS})
        main = " ".join(part for part in (*parts, others) if part)
        return f"{main} or {aliases}" if aliases else main

    @property
    def listing(self) -> list[tuple[str, Any]]:
        """Each combination for people, as in "right + up", and its action."""
        return [(_name(held), self._copy(action)) for held, action in self._actions.items() if held]

    def _as_action(self, action: Any) -> Any:
        if isinstance(self.space, spaces.Box):
            try:
                return np.asarray(action, self.space.dtype)
            except (TypeError, ValueError):
                return action  # `check` names it
        return action.item() if isinstance(action, np.integer) else action

    def _copy(self, action: Any) -> Any:
        return action.copy() if isinstance(action, np.ndarray) else action


def _name(held: Combination) -> str:
    return " + ".join(NAMES.get(key) or (chr(key).upper() if 32 < key < 0x110000 else f"key {key}") for key in held)


def _list(keys: Collection[int]) -> str:
    """Return keys in the order in which they lie under a hand."""
    if set(keys) == set(ARROWS):
        return "arrows"
    order = [*(key for key in (*ARROWS, *LETTERS) if key in keys), *sorted({*keys} - {*ARROWS, *LETTERS})]
    return " ".join(_name((key,)) for key in order)


@dataclass(frozen=True)
class Controller:
    """The sticks and triggers of a game controller that stand for the arrow keys."""

    steer: float = 0.0
    """From -1, left, to 1, right."""
    up: float = 0.0
    """From 0 to 1."""
    down: float = 0.0
    """From 0 to 1."""

    def pulls(self) -> dict[int, float]:
        """Return how far each arrow key is pulled, in (0, 1]; none within the dead zone, from whose edge it counts."""
        past = {key: (min(x, 1.0) - DEAD_ZONE) / (1.0 - DEAD_ZONE) for key, x in self._raw().items()}
        return {key: x for key, x in past.items() if x > 0}

    def pressed(self) -> set[int]:
        """Return the arrow keys that are pulled far enough to count as held."""
        return {key for key, x in self._raw().items() if x >= PRESSED}

    def _raw(self) -> dict[int, float]:
        return {LEFT: -self.steer, RIGHT: self.steer, UP: self.up, DOWN: self.down}


class Hands:
    """What a person's hands do in the course of time.

    Buttons are pressed at once. The numbers of a Box action move, since nobody turns a wheel in no time: at `attack`
    away from the idle action and at `release` back to it. A controller is moved by real hands, and obeyed at once.

    How far a number goes is what the keys say, so speeds count in that: a map of gentle keys is moved as gently. A
    number that rests at one end of what the keys can do is a pedal: a foot presses it slower than hands turn a wheel.

    Args:
        keymap: what the keys mean.
        action_space: of the actions.
        attack: a second; 2 takes half a second from the idle action to that of a key.
        pedal: the same for pedals.
        release: a second; faster than `attack`, so that a tap is over soon after the key is let go.

    Raises:
        InvalidArgument: if a speed is not positive.
    """

    def __init__(
        self, keymap: KeyMap, action_space: Space[Any], attack: float = 2.0, pedal: float = 0.5, release: float = 4.0
    ) -> None:
        for name, speed in (("attack", attack), ("pedal", pedal), ("release", release)):
            if not speed > 0:
                raise InvalidArgument(f"{name} is {speed}; expected a positive number of times a second.")
        self._keymap = keymap
        self._now = keymap.idle
        self._moves = False
        if isinstance(action_space, spaces.Box) and action_space.dtype.kind == "f":
            self._moves, self._box = True, action_space
            known = np.stack([keymap.idle, *(action for _, action in keymap.listing)])
            self._low, self._high = known.min(0), known.max(0)
            reach = np.maximum(self._high - keymap.idle, keymap.idle - self._low).astype(float)
            reach[reach == 0] = 1.0  # of a number that no key moves
            pedals = (self._low == keymap.idle) | (self._high == keymap.idle)
            self._attack = np.where(pedals, pedal, attack) * reach  # units of the action a second
            self._release = release * reach

    def act(self, held: Collection[int], axes: Controller | None, dt: float) -> Any:
        """Return what the person does now, or None if neither key nor controller is touched.

        Args:
            held: codes of the keys that are held, in any order.
            axes: of a controller, if there is one.
            dt: seconds since the last call.
        """
        if not self._moves:
            return self._do(self._keymap.target({*held, *(axes.pressed() if axes else ())}))
        pulls = {key: pull for key, pull in axes.pulls().items() if self._keymap.used({key})} if axes else {}
        if pulls:
            return self._do(self._mix(held, pulls))
        target = self._keymap.target(held)
        return None if target is None else self._do(self._toward(target, dt))

    def rest(self, dt: float) -> Any:
        """Return what is done while nobody acts and no policy drives: a wheel goes back to where it rests.

        Where buttons cannot be let go, it is what was done last; None if that is nothing yet.
        """
        idle = self._keymap.idle
        if self._moves:
            return self._do(self._toward(idle, dt))
        return self._now if idle is None else self._do(idle)

    def follow(self, action: Any) -> None:
        """Go on from the action that was done last, by whomever; None for that of idle hands, as in a new episode.

        Of an action beyond what the keys can do, hands hold as much as they can.
        """
        if action is None:
            self._now = self._keymap.idle
        else:
            self._now = np.clip(action, self._low, self._high) if self._moves else action

    def _do(self, action: Any) -> Any:
        if action is not None:
            self._now = action
        return action

    def _mix(self, held: Collection[int], pulls: Mapping[int, float]) -> Any:
        """Return the action that pulls mean, each in place of an arrow key and its opposite."""
        replaced = {key for pair in ((LEFT, RIGHT), (UP, DOWN)) if not pulls.keys().isdisjoint(pair) for key in pair}
        action = self._keymap.target(self._keymap.used(held) - self._keymap.used(replaced))
        idle = self._keymap.idle
        action = (idle if action is None else action).astype(float)
        for key, pull in pulls.items():
            action += pull * (self._keymap.target({key}) - idle.astype(float))
        return self._fit(action)

    def _toward(self, target: Any, dt: float) -> Any:
        """Return the action on the way from the last one to a target, by way of idleness if that lies between."""
        now, target, idle = (np.asarray(x, float) for x in (self._now, target, self._keymap.idle))
        turn = np.clip(idle, np.minimum(now, target), np.maximum(now, target))  # back to here, from here on away
        back = np.clip(turn - now, -self._release * dt, self._release * dt)
        rest = np.maximum(dt - np.abs(turn - now) / self._release, 0.0)  # seconds
        away = np.clip(target - turn, -self._attack * rest, self._attack * rest)
        return self._fit(now + back + away)

    def _fit(self, action: np.ndarray) -> np.ndarray:
        return np.clip(action, self._box.low, self._box.high).astype(self._box.dtype)
