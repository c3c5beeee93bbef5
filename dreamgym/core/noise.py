"""Random numbers by counter: a pure function of (lane seed, stream, count), the same on every device and for any number of lanes.

There is no generator whose state could be forgotten, shared between lanes or captured by a compiled graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

DYNAMICS, START, TERMINATION, TEMPERATURE = range(4)
"""Streams: what is drawn for one purpose never shifts what is drawn for another."""

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64: 2^64 over the golden ratio


def _mix(z: Tensor) -> Tensor:
    """Return the int64 entries scrambled: the finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    z = (z ^ _shift(z, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    z = (z ^ _shift(z, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts arithmetically: clear the copies of the sign


def _bits(seed: Tensor, stream: int, count: Tensor, width: int) -> Tensor:
    """Return `[B, width]` int64 of independent random bits."""
    key = _mix(_mix(seed + (stream + 1) * _GOLDEN) + count * _GOLDEN)  # [B]
    index = torch.arange(1, width + 1, device=seed.device) * _GOLDEN
    return _mix(key[:, None] + index)  # [B, width]


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
    radius = ((bits & 0xFFFFFF).float() + 1).mul_(2.0**-24).log_().mul_(-2).sqrt_()  # [B, half], u in (0, 1]
    angle = (_shift(bits, 40)).float().mul_(2 * math.pi * 2.0**-24)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :width]


def lane_seeds(seed: int, num_envs: int) -> list[int]:
    """Return one seed for each lane, as Gymnasium's vector envs seed theirs: `seed + i`."""
    return [seed + i for i in range(num_envs)]
