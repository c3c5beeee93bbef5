"""Random numbers by counter: a pure function of (lane seed, stream, count), whatever the device and number of lanes.

There is no generator whose state could be forgotten, shared between lanes or captured by a compiled graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

DYNAMICS, START, TERMINATION = range(3)
"""Streams: what is drawn for one purpose never shifts what is drawn for another."""

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64: 2^64 over the golden ratio


def _mix_(z: Tensor) -> Tensor:
    """Return the int64 entries scrambled in place: the finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    z ^= _shift(z, 30)
    z *= -4658895280553007687  # 0xBF58476D1CE4E5B9
    z ^= _shift(z, 27)
    z *= -7723592293110705685  # 0x94D049BB133111EB
    z ^= _shift(z, 31)
    return z


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)  # torch shifts arithmetically: clear the sign's copies


def _bits(seed: Tensor, stream: int, count: Tensor, width: int) -> Tensor:
    """Return `[B, width]` int64 of independent random bits."""
    offset = ((stream + 1) * _GOLDEN + 2**63) % 2**64 - 2**63  # wraps as int64 does; a larger int has no tensor
    key = _mix_(_mix_(seed + offset) + count * _GOLDEN)  # [B]
    index = torch.arange(1, width + 1, device=seed.device) * _GOLDEN
    return _mix_(key[:, None] + index)  # [B, width]


def uniform(seed: Tensor, stream: int, count: Tensor) -> Tensor:
    """Return `[B]` float32, uniform in [0, 1).

    Args:
        seed: `[B]` int64, the lanes' seeds; 0 is as good as any.
        stream: the purpose, one of this module's constants.
        count: `[B]` int64, how many draws the lane has made from this stream.
    """
    return (_bits(seed, stream, count, 1)[:, 0] & 0xFFFFFF).float() * 2.0**-24


def normal(seed: Tensor, stream: int, count: Tensor, width: int) -> Tensor:
    """Return `[B, width]` float32, standard normal (Box & Muller 1958).

    Args:
        seed: `[B]` int64, the lanes' seeds.
        stream: the purpose, one of this module's constants.
        count: `[B]` int64, how many draws the lane has made from this stream.
        width: how many numbers a lane needs.
    """
    half = (width + 1) // 2
    bits = _bits(seed, stream, count, half)
    angle = _shift(bits, 40).float().mul_(2 * math.pi * 2.0**-24)  # [B, half]
    # in place from here on: fresh memory for every operator would cost more than the arithmetic
    radius = bits.bitwise_and_(0xFFFFFF).float().add_(1).mul_(2.0**-24).log_().mul_(-2).sqrt_()  # of u in (0, 1]
    return torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], 1)[:, :width]


class Blocks:
    """The same numbers as `uniform` and `normal`, made for several steps ahead at once: few lanes then cost little.

    It holds nothing that matters: counts that it has not just advanced itself are looked up afresh. Each block is twice
    as long as the one that was used up before it, so that lanes which jump about waste little.

    Args:
        ahead: the largest number of steps that are made at once.
    """

    def __init__(self, ahead: int = 64) -> None:
        self.ahead = ahead
        self._seed: Tensor | None = None
        self._count: Tensor | None = None
        self._steps = self._offset = 0
        self._rows: dict[int, Tensor] = {}  # stream -> [steps, B, width]

    def uniform(self, seed: Tensor, stream: int, count: Tensor) -> Tensor:
        """Return what the module's `uniform` returns."""
        return self._row(seed, stream, count, lambda s, c: uniform(s, stream, c))

    def normal(self, seed: Tensor, stream: int, count: Tensor, width: int) -> Tensor:
        """Return what the module's `normal` returns."""
        return self._row(seed, stream, count, lambda s, c: normal(s, stream, c, width))

    def advance(self, seed: Tensor, count: Tensor) -> Tensor:
        """Return `count + 1` and expect it in the next call."""
        after = count + 1
        if seed is self._seed and count is self._count:
            self._count, self._offset = after, self._offset + 1
        return after

    def _row(self, seed: Tensor, stream: int, count: Tensor, draw: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        most = min(self.ahead, 1024 // len(seed))  # a larger block leaves the cache and gains nothing
        if most < 2 or seed.device.type != "cpu":  # on an accelerator a captured graph would repeat one row for ever
            return draw(seed, count)
        expected = seed is self._seed and count is self._count
        if not expected or self._offset >= self._steps:
            self._steps = min(2 * self._steps, most) if expected else 1
            self._seed, self._count, self._offset, self._rows = seed, count, 0, {}
        if stream not in self._rows:
            later = torch.arange(self._steps) - self._offset  # rows already passed are never read
            counts = (count[None] + later[:, None]).flatten()  # [steps * B]
            self._rows[stream] = draw(seed.repeat(self._steps), counts).unflatten(0, (self._steps, len(seed)))
        return self._rows[stream][self._offset]
