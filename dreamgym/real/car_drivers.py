"""Scripted drivers for CarRacing: one that follows the road, one at random, and probes of what players try first."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

LOOK_AHEAD_TILES = 9
VIEW_AHEAD, VIEW_BEHIND, VIEW_ASIDE = 36.0, 6.0, 30.0  # what the picture shows around the car, world units
FULL_LOCK = 0.4  # the wheels turn no further: more steering than this changes nothing
WHEEL_BASE = 3.24  # world units
GRIP = 150.0  # sideways acceleration to count on in a curve, units / s^2
BRAKING = 60.0  # deceleration to count on before a curve, units / s^2
TURNING_SPEED = 15.0  # for turning round, units / s
DAMPING = 0.05  # steering for each rad / s of yaw that is missing
GAS_RELIEF = 1.5  # gas taken away for each unit of steering: the rear wheels slide when they do both


class Pursuit:
    """Follows the centre line by pure pursuit, braking for curves, with faults that are drawn anew each episode.

    The faults: a speed cap, a lateral offset, correlated noise on steering and throttle, bursts of random actions, and
    now and then an excursion off the road, from which it comes back unless it leaves the field. It knows the road only
    as far as the picture shows it, `LOOK_AHEAD_TILES` at most; where it shows none, it heads for where it last
    saw one.
    """

    def __init__(self, speed_cap: tuple[float, float] = (25.0, 95.0), faults: bool = True) -> None:
        self.speed_caps = speed_cap
        self.faults = faults

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw the episode's faults."""
        world: Any = env.unwrapped
        self._car, self._rng = world.car, rng
        self._road = np.array([tile[2:4] for tile in world.track])  # [N, 2], world units
        self._tile = 0
        self._speed_cap = rng.uniform(*self.speed_caps)
        faults = self.faults * rng.random()  # some episodes are nearly clean
        self._offset = faults * rng.uniform(-6.0, 6.0)
        self._steer_noise = _Drift(rng, faults * rng.uniform(0.0, 0.3))
        self._throttle_noise = _Drift(rng, faults * rng.uniform(0.0, 0.4))
        self._burst_rate = faults * rng.uniform(0.0, 0.05)  # a decision
        self._excursion_rate = faults * 0.01  # a decision
        self._override, self._override_left = np.zeros(3, np.float32), 0

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return `[steer, gas, brake]`."""
        if self._override_left == 0:
            self._override_left, self._override = self._draw_override()
        if self._override_left > 0:
            self._override_left -= 1
            return self._override
        road = self.visible_road()
        steer, throttle = self._follow(road)
        return _action(steer + self._steer_noise.next(), throttle + self._throttle_noise.next())

    def visible_road(self) -> np.ndarray:
        """Return the road ahead that the picture shows, or where it last showed one.

        Returns:
            `[n, 2]`, 1 <= n <= `LOOK_AHEAD_TILES`: tile centres as (right, forward) of the car, world units.
        """
        local = self._to_car(self._road)
        shown = (np.abs(local[:, 0]) < VIEW_ASIDE) & (local[:, 1] > -VIEW_BEHIND) & (local[:, 1] < VIEW_AHEAD)
        if not shown.any():
            return local[self._tile : self._tile + 1]
        # the stretch it was on comes first, or it would jump across where the road runs beside itself
        near = np.arange(self._tile - 5, self._tile + 12) % len(local)
        candidates = near[shown[near]] if shown[near].any() else np.flatnonzero(shown)
        self._tile = int(candidates[np.argmin(np.linalg.norm(local[candidates], axis=1))])
        ahead = np.arange(self._tile, self._tile + LOOK_AHEAD_TILES) % len(local)
        end = LOOK_AHEAD_TILES if shown[ahead].all() else int(np.argmin(shown[ahead]))
        return local[ahead[:end]]

    def _follow(self, road: np.ndarray) -> tuple[float, float]:
        speed = self._speed()
        reach = min(len(road) - 1, 2 + int(speed / 20.0))
        right, forward = road[reach]
        if reach > 0:
            along = road[reach] - road[reach - 1]
            along /= np.linalg.norm(along)
            right, forward = right + self._offset * along[1], forward - self._offset * along[0]
        angle = math.atan2(right, forward)
        if abs(angle) > 1.0:  # turning round: slowly, or it spins
            return math.copysign(FULL_LOCK, angle), (TURNING_SPEED - speed) * 0.1
        bend = 2.0 * math.sin(angle) / math.hypot(right, forward)
        slip = speed * bend + self._car.hull.angularVelocity  # yaw missing to the right, rad / s
        steer = math.atan(WHEEL_BASE * bend) + DAMPING * slip
        target = min(self._speed_cap, _safe_speed(road))
        throttle = np.clip((target - speed) * 0.1, -0.8, 1.0 - GAS_RELIEF * abs(steer))
        return steer, float(throttle)

    def _draw_override(self) -> tuple[int, np.ndarray]:
        rng = self._rng
        if rng.random() < self._burst_rate:
            return int(rng.integers(2, 9)), _random_action(rng)
        if rng.random() < self._excursion_rate:
            for_good = rng.random() < 0.1  # straight on until the edge of the field
            length, steer = (250, 0.0) if for_good else (int(rng.integers(5, 25)), rng.uniform(-0.1, 0.1))
            return length, _action(steer, rng.uniform(0.2, 0.7))
        return 0, self._override

    def _speed(self) -> float:
        return float(np.hypot(*self._car.hull.linearVelocity))

    def _to_car(self, points: np.ndarray) -> np.ndarray:
        hull = self._car.hull
        cos, sin = math.cos(hull.angle), math.sin(hull.angle)
        dx, dy = (points - np.array(hull.position)).T
        return np.stack((cos * dx + sin * dy, cos * dy - sin * dx), axis=1)


class SmoothRandom:
    """Random actions that hold for a while and drift in between."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Begin with a random action."""
        self._rng = rng
        self._left = 0
        self._target = self._now = _random_action(rng)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return `[steer, gas, brake]`."""
        if self._left == 0:
            self._left, self._target = int(self._rng.integers(2, 16)), _random_action(self._rng)
        self._left -= 1
        self._now = self._now + 0.5 * (self._target - self._now)
        return self._now


class FullGas:
    """Full gas: from the first decision, which soon spins the car, or after a gentle start, often off the field."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw the start and the turn in it."""
        gentle = rng.random() < 0.6
        self._start_left = int(rng.integers(15, 30)) if gentle else 0
        self._turn_left = int(rng.integers(0, 13)) if gentle or rng.random() < 0.5 else 0
        self._steer = rng.uniform(-FULL_LOCK, FULL_LOCK)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return `[steer, gas, 0]`."""
        self._start_left -= 1
        self._turn_left -= 1
        return _action(self._steer if self._turn_left >= 0 else 0.0, 0.4 if self._start_left >= 0 else 1.0)


class Constant:
    """One random steering and one random gas, held all episode."""

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw the action."""
        self._action = _action(rng.uniform(-FULL_LOCK, FULL_LOCK), rng.uniform(0.0, 1.0))

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return the action."""
        return self._action


class RunUp:
    """Accelerates for a random while, then does one thing for the rest of the episode."""

    def __init__(self, longest: int, brakes: bool = False) -> None:
        self.longest = longest
        self.brakes = brakes

    def reset(self, env: gym.Env, rng: np.random.Generator) -> None:
        """Draw the length of the run-up and the strength of the brake."""
        self._left = int(rng.integers(0, self.longest + 1))
        self._brake = rng.uniform(0.2, 1.0) if self.brakes else 0.0
        self._steer = rng.uniform(-0.1, 0.1)

    def act(self, obs: np.ndarray) -> np.ndarray:
        """Return `[steer, gas, 0]`, then `[0, 0, brake]`."""
        self._left -= 1
        return _action(self._steer, 0.8) if self._left >= 0 else _action(0.0, -self._brake)


def idle() -> RunUp:
    """Return the driver that does nothing."""
    return RunUp(0)


def coast() -> RunUp:
    """Return the driver that accelerates, then lets go."""
    return RunUp(25)


def brake() -> RunUp:
    """Return the driver that accelerates, then brakes and holds."""
    return RunUp(25, brakes=True)


class _Drift:
    """Ornstein-Uhlenbeck noise of a stationary standard deviation `scale`, remembered for about 7 decisions."""

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        self._rng, self._scale, self._value = rng, scale, 0.0

    def next(self) -> float:
        keep = 0.87
        self._value = keep * self._value + self._scale * math.sqrt(1.0 - keep**2) * self._rng.normal()
        return self._value


def _safe_speed(road: np.ndarray) -> float:
    """Return the speed from which every curve of `road` (`[n, 2]`, from the car on) can still be taken."""
    if len(road) < 3:
        return 40.0
    steps = np.diff(road, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    headings = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    bend = np.abs(np.diff(headings)) / lengths[1:]
    distance = np.cumsum(lengths)[:-1]
    return float(np.sqrt(GRIP / np.maximum(bend, 1e-3) + 2.0 * BRAKING * distance).min())


def _random_action(rng: np.random.Generator) -> np.ndarray:
    return _action(rng.uniform(-FULL_LOCK, FULL_LOCK) * 1.5, rng.uniform(-0.6, 1.0))


def _action(steer: float, throttle: float) -> np.ndarray:
    """Return `[steer, gas, brake]` float32 from a throttle that brakes where it is negative."""
    clipped = np.clip([steer, throttle, -throttle], [-1.0, 0.0, 0.0], 1.0)
    return clipped.astype(np.float32)
