"""A person can drive: with keys alone, from pictures that are seen late."""

import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from dreamgym.viewer.keys import DOWN, LEFT, RIGHT, UP, Hands
from dreamgym.viewer.session import Session

CAR = "DreamCarRacing-v0"
RATE = 25  # pictures a second
SECONDS, ZOOM = 20, 1.2  # of driving; of them until the real env has zoomed in
ATTACK, RELEASE, LOCK, WHEEL_BASE = 2.0, 4.0, 0.4, 3.24  # what a person gets a feeling for

BEARINGS = np.radians(np.arange(-115, 116, 5))
DISTANCES = np.arange(4.0, 34.0)  # world units
X = 31.5 + 1.04 * DISTANCES[:, None] * np.sin(BEARINGS)
Y = 46.5 - 1.3 * DISTANCES[:, None] * np.cos(BEARINGS)
SEEN = (X >= 0) & (X <= 63) & (Y >= 0) & (Y <= 54)  # below are the instruments
COLUMN, ROW = (np.clip(np.round(at), 0, 63).astype(int) for at in (X, Y))


def grey(picture):
    """Return where a picture shows asphalt."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (abs(red - green) < 22) & (abs(blue - green) < 22) & (green > 60) & (green < 140)


def on_the_road(picture):
    """Return whether at least half of what lies to the left and right of the car is asphalt."""
    beside = grey(picture[43:52, [*range(26, 30), *range(34, 38)]])
    return beside.mean() >= 0.5


def speed(picture):
    """Return world units a second, as the white instrument shows them."""
    return picture[56:64, 8:11, 0].astype(int).sum() / 14


def middle_of_the_road(picture):
    """Return where the road leads: distances `[n]` and bearings `[n]` of its middle, followed from the car on."""
    found, last = [], 0.0
    for distance, row in zip(DISTANCES, grey(picture)[ROW, COLUMN] & SEEN, strict=True):
        road = np.flatnonzero(row)
        if not len(road) and found:
            break
        if len(road):
            stretches = np.split(road, np.flatnonzero(np.diff(road) > 1) + 1)
            bearing = min((BEARINGS[s].mean() for s in stretches), key=lambda b: abs(b - last))
            if found and abs(bearing - last) > 1.2:
                break
            found.append((distance, bearing))
            last = bearing
    return np.array(found).reshape(-1, 2).T


@dataclass
class Person:
    """Somebody who drives with a practised hand, and no better.

    They wait for a second before they touch a key. They see each picture `DELAY` seconds late, look ten times a second,
    and press or let go of a key for `SHORTEST` seconds at least. They see nothing but the picture: where the road leads
    and how fast it goes. They know how long they have held their keys, and expect what of it is not to be seen yet.
    """

    WAIT, DELAY, LOOK, SHORTEST = 1.0, 0.2, 0.1, 0.12

    changes: int = 0
    held: frozenset = frozenset()
    _want: frozenset = frozenset()
    _pictures: deque = field(default_factory=deque)
    _turned: deque = field(default_factory=deque)  # steering while the picture was on its way
    _wheel: float = 0.0  # a guess, from -1 to 1
    _steer: float = 0.0
    _sharpest: float = 0.0
    _now: float = 0.0
    _next_look: float = 0.0
    _changed: dict = field(default_factory=dict)

    def keys(self, picture, dt):
        """Return the keys that are held now, where a picture was just shown."""
        self._now += dt
        to = (RIGHT in self.held) - (LEFT in self.held)
        if to * self._wheel > 0 or self._wheel == 0:
            self._wheel = float(np.clip(self._wheel + to * ATTACK * dt, -1, 1))
        else:
            self._wheel = math.copysign(max(abs(self._wheel) - RELEASE * dt, 0.0), self._wheel)
        self._pictures.append(picture)
        self._turned.append(self._wheel * LOCK)
        if len(self._pictures) * dt <= self.DELAY:
            return self.held
        seen, _ = self._pictures.popleft(), self._turned.popleft()
        if self._now >= max(self._next_look, self.WAIT):
            self._next_look = self._now + self.LOOK
            self._think(seen, dt)
        for key in self._want ^ self.held:
            if self._now - self._changed.get(key, -1.0) >= self.SHORTEST:
                self.held, self._changed[key] = self.held ^ {key}, self._now
                self.changes += 1
        return self.held

    def _think(self, picture, dt):
        fast = speed(picture)
        distance, bearing = middle_of_the_road(picture)
        self._sharpest = abs(bearing).max() if len(bearing) else 2.0
        if len(bearing):
            turn = sum(self._turned) * dt * fast / WHEEL_BASE
            gone = len(self._turned) * dt * fast
            right = distance * np.sin(bearing) - gone * math.sin(turn / 2)
            ahead = distance * np.cos(bearing) - gone * math.cos(turn / 2)
            there, angle = np.hypot(right, ahead), np.arctan2(right, ahead) - turn
            at = np.argmin(abs(there - (6.0 + 0.35 * fast)))
            bend = 2 * math.sin(np.clip(angle[at], -1.5, 1.5)) / max(there[at], 5.0)
            self._steer = float(np.clip(math.atan(WHEEL_BASE * bend) / LOCK, -1, 1))
        want = set()
        key = RIGHT if self._steer > 0 else LEFT
        lacking = abs(self._steer) - math.copysign(1, self._steer) * self._wheel
        if lacking > (-0.02 if key in self.held else 0.12) or abs(self._steer) > 0.9:
            want.add(key)
        wish = max(13.0, 26.0 - 11.0 * self._sharpest)
        if fast < wish - (0 if UP in self.held else 2):
            want.add(UP)
        elif fast > wish + 6:
            want.add(DOWN)
        self._want = frozenset(want)


def drive(side, seed):
    """Return the share of time on the road, what was earned, and key changes a second."""
    session = Session(CAR, side=side, seed=seed, policy=None)
    hands, person = Hands(session.keys, session.dream.model.action_space), Person()
    on = []
    for i in range(SECONDS * RATE):
        keys = person.keys(session.panes()[0].picture, 1 / RATE)
        action = hands.act(keys, None, 1 / RATE)
        session.advance(1 / RATE, hands.rest(1 / RATE) if action is None else action)
        pane = session.panes()[0]
        assert pane.over in ("", "truncated"), pane.over  # by the time limit, after the last decision
        if i >= ZOOM * RATE:
            on.append(on_the_road(pane.picture))
    session.close()
    return np.mean(on), pane.earned, person.changes / SECONDS


@pytest.mark.slow
@pytest.mark.parametrize(("side", "least"), [("dream", 0.95), ("real", 0.9)])
def test_a_person_keeps_the_car_on_the_road_and_gets_on(side, least):
    drives = [drive(side, seed) for seed in range(4)]
    print(side, [f"{on:.0%} on the road, earned {earned:.0f}, {changes:.1f} keys/s" for on, earned, changes in drives])
    on, earned, changes = zip(*drives, strict=True)
    assert np.mean(on) >= least
    assert min(earned) > 0
    assert np.mean(earned) > 100
    assert max(changes) <= 6.5
