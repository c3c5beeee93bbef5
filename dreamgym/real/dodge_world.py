"""The world of Dodge-v0 as arrays: many lanes at once, and the same lane whatever their number."""

from __future__ import annotations

import numpy as np

from dreamgym.real.dodge_sprites import SIZE, background, sheet

# Kinds of things. A kind fixes velocity, picture and what comes next, so that the picture shows the whole state.
EMPTY, ROCK, COMET_LEFT, COMET_DOWN, COMET_RIGHT, ARMED, VEER_LEFT, VEER_RIGHT, SPENT = range(9)
VELOCITY_X = np.array([0, 0, -1, 0, 1, 0, -3, 3, 0])  # pixels a step, to the right
VELOCITY_Y = np.array([0, 3, 4, 4, 4, 3, 3, 3, 3])  # pixels a step, downwards

NUM_SLOTS = 6  # things that one lane can hold
SPAWN_Y, BRANCH_Y, SETTLE_Y, GONE_Y = -2, 19, 34, 70  # pixels: where a thing appears, veers, straightens, is gone
SHIP_Y, SHIP_STEP = 56, 3  # pixels; pixels a step
SHIP_MIN_X, SHIP_MAX_X = 5, 59  # pixels
REACH_X, REACH_Y = 6, 5  # pixels: a thing whose centre is this near to the ship's centre hits it
SPAWN_PROBABILITY = 0.11  # per lane and step, while a slot is free
ROCK_SCATTER = 10  # pixels: how far from the ship's column a rock is aimed at most
BRANCH_WIDTH = 15  # pixels that a branching thing goes to one side
START_PROBABILITY = 0.5  # that a first thing exists
START_AGES = (1, 3)  # steps for which the first things have fallen already

_SHIP, _WRECK = 8, 9  # rows of the sprite sheet after the eight things
_OFFSETS, _COLOURS = sheet()
_BACKGROUND = background().reshape(1, SIZE * SIZE, 3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hash64(value: np.ndarray) -> np.ndarray:
    """Return `value` (uint64, any shape) scrambled.

    Source: splitmix64 in Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def lane_key(seed: int) -> np.uint64:
    """Return the key of a lane that was seeded with this integer."""
    return hash64(np.array([seed % 2**64], dtype=np.uint64) + _GOLDEN)[0]


def advance(kind: np.ndarray, x: np.ndarray, y: np.ndarray, goes_right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return `(kind, x, y)` of all things one step later.

    Args:
        kind, x, y: `[B, K]` integers, pixels.
        goes_right: `[B, 1]` bool, the side to which a thing veers that branches in this step.
    """
    x = x + VELOCITY_X[kind]
    y = y + VELOCITY_Y[kind]
    branches = (kind == ARMED) & (y >= BRANCH_Y)
    settles = ((kind == VEER_LEFT) | (kind == VEER_RIGHT)) & (y >= SETTLE_Y)
    kind = np.where(branches, np.where(goes_right, VEER_RIGHT, VEER_LEFT), kind)
    kind = np.where(settles, SPENT, kind)
    return np.where(y >= GONE_Y, EMPTY, kind), x, y


def hits(kind: np.ndarray, x: np.ndarray, y: np.ndarray, ship: np.ndarray) -> np.ndarray:
    """Return whether any thing (`[..., K]`) touches the ship whose centre is at column `ship` (`[...]`), bool."""
    near = (np.abs(x - ship[..., None]) <= REACH_X) & (np.abs(y - SHIP_Y) <= REACH_Y)
    return (near & (kind != EMPTY)).any(axis=-1)


class DodgeWorld:
    """Any number of lanes of the game; `DodgeEnv` explains the rules.

    A lane's randomness is a hash of its key, episode and step, so that nothing done to another lane can shift it.
    """

    def __init__(self, num_lanes: int) -> None:
        shape = (num_lanes, NUM_SLOTS)
        self.key = np.random.default_rng().integers(2**64, size=num_lanes, dtype=np.uint64)
        self.episode = np.zeros(num_lanes, dtype=np.uint64)
        self.time = np.zeros(num_lanes, dtype=np.uint64)
        self.ship = np.zeros(num_lanes, dtype=np.int64)
        self.hit = np.zeros(num_lanes, dtype=bool)
        self.kind = np.zeros(shape, dtype=np.int64)
        self.x = np.zeros(shape, dtype=np.int64)
        self.y = np.zeros(shape, dtype=np.int64)

    def seed(self, lane: int, seed: int) -> None:
        """Give one lane the randomness of this seed, from its next reset on."""
        self.key[lane] = lane_key(seed)
        self.episode[lane] = 0

    def reset(self, lanes: np.ndarray) -> None:
        """Begin a new episode in these lanes (`[B]` indices)."""
        self.episode[lanes] += np.uint64(1)
        self.time[lanes] = 0
        self.ship[lanes] = (SHIP_MIN_X + SHIP_MAX_X) // 2
        self.hit[lanes] = False
        self.kind[lanes] = EMPTY
        for draw, age in enumerate(START_AGES, start=1):
            self._spawn(lanes, self._uniforms(lanes, draw), START_PROBABILITY, age)

    def step(self, actions: np.ndarray) -> np.ndarray:
        """Move every lane by one step and return which of them were hit, `[B]` bool.

        Args:
            actions: `[B]` integers: 0 stay, 1 left, 2 right.
        """
        lanes = np.arange(len(self.ship))
        self.time += np.uint64(1)
        uniforms = self._uniforms(lanes, 0)
        move = (actions == 2).astype(np.int64) - (actions == 1)
        self.ship = np.clip(self.ship + SHIP_STEP * move, SHIP_MIN_X, SHIP_MAX_X)
        self.kind, self.x, self.y = advance(self.kind, self.x, self.y, uniforms[:, 3:] < 0.5)
        self.hit = hits(self.kind, self.x, self.y, self.ship)
        self._spawn(lanes, uniforms, SPAWN_PROBABILITY)
        return self.hit

    def draw(self, lanes: np.ndarray) -> np.ndarray:
        """Return the pictures of these lanes, `[B, 64, 64, 3]` uint8, a fresh array."""
        num_lanes = len(lanes)
        canvas = np.empty((num_lanes * SIZE * SIZE, 3), dtype=np.uint8)
        canvas.reshape(num_lanes, -1, 3)[:] = _BACKGROUND
        row, slot = np.nonzero(self.kind[lanes])
        lane = lanes[row]
        self._stamp(canvas, row, self.x[lane, slot], self.y[lane, slot], self.kind[lane, slot] - 1)
        ship = np.where(self.hit[lanes], _WRECK, _SHIP)
        self._stamp(canvas, np.arange(num_lanes), self.ship[lanes], np.full(num_lanes, SHIP_Y), ship)
        return canvas.reshape(num_lanes, SIZE, SIZE, 3)

    @staticmethod
    def _stamp(canvas: np.ndarray, row: np.ndarray, x: np.ndarray, y: np.ndarray, sprite: np.ndarray) -> None:
        """Copy sprites onto the pictures of `canvas`; what lies outside a picture is cut off."""
        offsets = _OFFSETS[sprite]  # [M, P, 2]
        rows = y[:, None] + offsets[..., 0]
        columns = x[:, None] + offsets[..., 1]
        inside = (rows >= 0) & (rows < SIZE) & (columns >= 0) & (columns < SIZE)
        pixels = (row[:, None] * SIZE + rows) * SIZE + columns
        canvas[pixels[inside]] = _COLOURS[sprite][inside]

    def _uniforms(self, lanes: np.ndarray, draw: int) -> np.ndarray:
        """Return `[B, 4]` numbers in [0, 1), a function of each lane's key, episode and step, and of `draw`."""
        moment = (self.episode[lanes] << np.uint64(32)) + (self.time[lanes] << np.uint64(3)) + np.uint64(draw)
        stream = hash64(self.key[lanes] + moment * _GOLDEN)
        numbers = hash64(stream[:, None] + np.arange(1, 5, dtype=np.uint64) * _GOLDEN)
        return (numbers >> np.uint64(11)) * 2.0**-53

    def _spawn(self, lanes: np.ndarray, uniforms: np.ndarray, probability: float, age: int = 0) -> None:
        """Let a thing appear in some of these lanes, as it is `age` steps after it came in at the top."""
        slots = self.kind[lanes].argmin(axis=1)  # the first free slot, if there is one: EMPTY is 0
        born = (uniforms[:, 0] < probability) & (self.kind[lanes, slots] == EMPTY)
        lanes, slots, (_, which, where, _) = lanes[born], slots[born], uniforms[born].T
        comet = COMET_LEFT + (where * 3).astype(np.int64)
        kind = np.where(which < 0.5, ARMED, np.where(which < 0.7, ROCK, comet))
        fall = (SHIP_Y - SPAWN_Y) // VELOCITY_Y[kind]
        # aimed at where the ship is: a rock roughly, a branching thing so that it may well come down there
        aimed = self.ship[lanes] - VELOCITY_X[kind] * fall
        scatter = np.rint((2 * where - 1) * ROCK_SCATTER).astype(np.int64)
        aside = np.where(where < 0.5, -BRANCH_WIDTH, BRANCH_WIDTH)
        x = aimed + np.where(kind == ROCK, scatter, 0) + np.where(kind == ARMED, aside, 0)
        room = np.where(kind == ARMED, BRANCH_WIDTH, 0)  # on both sides
        self.kind[lanes, slots] = kind
        self.x[lanes, slots] = np.clip(x, SHIP_MIN_X + room, SHIP_MAX_X - room) + VELOCITY_X[kind] * age
        self.y[lanes, slots] = SPAWN_Y + VELOCITY_Y[kind] * age
