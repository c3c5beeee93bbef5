"""Random numbers by counter: a pure function of (lane seed, stream, count), whatever the device and number of lanes.

There is no generator whose state could be forgotten, shared between lanes or captured by a compiled graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

DYNAMICS, START, TERMINATION, PLAN, CANDIDATE, IMAGINED = range(6)
"""Streams: what is drawn for one purpose never shifts what is drawn for another."""

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64: 2^64 over the golden ratio
_LOW = np.uint64(0xFFFFFF)
_CHUNK = 2**15


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
    # the multiples of golden, of -1 - i rather than i + 1: a compiler would take the product for an int32 address
    index = torch.arange(width, device=seed.device).bitwise_not() * -_GOLDEN
    return _mix_(key[:, None] + index)  # [B, width]


def fold(seed: Tensor, stream: int, count: Tensor) -> Tensor:
    """Return `[B]` int64 seeds for something that is done once more: as good as independent of each other.

    Args:
        seed: `[B]` int64, the lanes' seeds.
        stream: the purpose, one of this module's constants.
        count: `[B]` int64, how often the lane has done it.
    """
    if _on_cpu(seed):
        return torch.from_numpy(_bits_on_cpu(seed, stream, count, 1)[:, 0].view(np.int64))
    return _bits(seed, stream, count, 1)[:, 0]


def uniform(seed: Tensor, stream: int, count: Tensor) -> Tensor:
    """Return `[B]` float32, uniform in [0, 1).

    Args:
        seed: `[B]` int64, the lanes' seeds; 0 is as good as any.
        stream: the purpose, one of this module's constants.
        count: `[B]` int64, how many draws the lane has made from this stream.
    """
    if _on_cpu(seed):
        return torch.from_numpy(_floats(_bits_on_cpu(seed, stream, count, 1)[:, 0] & _LOW) * np.float32(2.0**-24))
    return (_bits(seed, stream, count, 1)[:, 0] & 0xFFFFFF).float() * 2.0**-24


def normal(seed: Tensor, stream: int, count: Tensor, width: int) -> Tensor:
    """Return `[B, width]` float32, standard normal (Box & Muller 1958).

    Args:
        seed: `[B]` int64, the lanes' seeds.
        stream: the purpose, one of this module's constants.
        count: `[B]` int64, how many draws the lane has made from this stream.
        width: how many numbers a lane needs.
    """
    if _on_cpu(seed):
        return torch.from_numpy(_normal_on_cpu(seed, stream, count, width))
    half = (width + 1) // 2
    bits = _bits(seed, stream, count, half)
    angle = _shift(bits, 40).float().mul_(2 * math.pi * 2.0**-24)  # [B, half]
    # in place from here on: fresh memory for every operator would cost more than the arithmetic
    radius = bits.bitwise_and_(0xFFFFFF).float().add_(1).mul_(2.0**-24).log_().mul_(-2).sqrt_()  # of u in (0, 1]
    return torch.cat([angle.cos().mul_(radius), angle.sin_().mul_(radius)], 1)[:, :width]


def _on_cpu(seed: Tensor) -> bool:
    return seed.is_cpu and not torch.compiler.is_compiling()


def _bits_on_cpu(seed: Tensor, stream: int, count: Tensor, width: int) -> np.ndarray:
    """Return what `_bits` returns, as uint64, in about half the time: NumPy shifts unsigned and in place."""
    with np.errstate(over="ignore"):  # the product of single numbers warns that it wraps
        key = seed.numpy().view(np.uint64) + np.uint64((stream + 1) * _GOLDEN % 2**64)
        key = _mix_on_cpu(_mix_on_cpu(key) + count.numpy().view(np.uint64) * np.uint64(_GOLDEN % 2**64))  # [B]
        index = np.arange(1, width + 1, dtype=np.uint64) * np.uint64(_GOLDEN % 2**64)
    return _mix_on_cpu(key[:, None] + index)  # [B, width]


def _normal_on_cpu(seed: Tensor, stream: int, count: Tensor, width: int) -> np.ndarray:
    """Return what `normal` returns, within rounding."""
    half = (width + 1) // 2
    numbers = np.empty((len(seed), 2, half), np.float32)
    # what leaves the processor's cache, or is new to the process, costs four times more
    lanes = max(1, _CHUNK // max(1, half))
    for part, keys, counts in zip(*(_chunks(x, lanes) for x in (numbers, seed, count)), strict=True):
        bits = _bits_on_cpu(keys, stream, counts, half)
        radius = _floats(bits & _LOW)
        radius += np.float32(1)
        radius *= np.float32(2.0**-24)
        np.log(radius, out=radius)
        radius *= np.float32(-2)
        np.sqrt(radius, out=radius)
        bits >>= np.uint64(40)
        angle = _floats(bits)
        angle *= np.float32(2 * math.pi * 2.0**-24)
        np.multiply(np.cos(angle), radius, out=part[:, 0])
        np.multiply(np.sin(angle, out=angle), radius, out=part[:, 1])
    return numbers.reshape(len(numbers), 2 * half)[:, :width]


def _chunks(rows: Any, size: int) -> Any:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _floats(bits: np.ndarray) -> np.ndarray:
    """Return the numbers, below 2^24, as float32; processors convert signed integers in fewer steps."""
    return bits.view(np.int64).astype(np.float32)


def _mix_on_cpu(z: np.ndarray) -> np.ndarray:
    """Return the uint64 entries scrambled in place, as `_mix_` does it."""
    shifted = z >> np.uint64(30)
    for multiplier, bits in ((0xBF58476D1CE4E5B9, 27), (0x94D049BB133111EB, 31)):
        z ^= shifted
        z *= np.uint64(multiplier)
        np.right_shift(z, np.uint64(bits), out=shifted)
    z ^= shifted
    return z


class Blocks:
    """The same numbers as `uniform` and `normal`, made for several steps ahead at once: few lanes then cost little.

    It holds nothing that matters: counts that it has not just advanced itself are looked up afresh. Each block is twice
    as long as the one that was used up before it, so that lanes which jump about waste little.

    Args:
        ahead: the largest number of steps that are made at once.
        numbers: the largest number of numbers that are made at once; more than these leave the processor's cache.
    """

    def __init__(self, ahead: int = 64, numbers: int = 2**17) -> None:
        self.ahead, self.numbers = ahead, numbers
        self._seed: Tensor | None = None
        self._count: Tensor | None = None
        self._now = 0
        self._blocks: dict[int, tuple[int, Sequence[Tensor]]] = {}  # stream -> step of the first row, rows [B, ...]

    def uniform(self, seed: Tensor, stream: int, count: Tensor) -> Tensor:
        """Return what the module's `uniform` returns."""
        return self._row(seed, stream, count, None)

    def normal(self, seed: Tensor, stream: int, count: Tensor, width: int) -> Tensor:
        """Return what the module's `normal` returns."""
        return self._row(seed, stream, count, width)

    def advance(self, seed: Tensor, count: Tensor) -> Tensor:
        """Return `count + 1` and expect it in the next call."""
        after = count + 1
        if seed is self._seed and count is self._count:
            self._count, self._now = after, self._now + 1
        return after

    def _row(self, seed: Tensor, stream: int, count: Tensor, width: int | None) -> Tensor:
        if seed is self._seed and count is self._count and stream in self._blocks:
            first, rows = self._blocks[stream]
            if self._now - first < len(rows):
                return rows[self._now - first]
        draw = lambda s, c: uniform(s, stream, c) if width is None else normal(s, stream, c, width)  # noqa: E731
        most = min(self.ahead, self.numbers // (len(seed) * (width or 1)))
        if most < 2 or not seed.is_cpu:  # on an accelerator a captured graph would repeat one row for ever
            return draw(seed, count)
        if seed is not self._seed or count is not self._count:
            self._seed, self._count, self._now, self._blocks = seed, count, 0, {}
        _, used_up = self._blocks.get(stream, (0, ()))
        steps = min(2 * len(used_up) or 1, most)
        counts = (count + torch.arange(steps)[:, None]).flatten()  # [steps * B]
        rows = draw(seed.repeat(steps), counts).unflatten(0, (steps, len(seed))).unbind(0)
        self._blocks[stream] = self._now, rows
        return rows[0]
