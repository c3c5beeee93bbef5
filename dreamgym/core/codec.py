"""Units change here and nowhere else: an env's spaces on one side, what world models compute with on the other.

| space | env units | model units |
| --- | --- | --- |
| Box uint8 `[h, w, c]` | uint8 pictures | float32 `[B, c, h, w]` in [0, 1] |
| any other Box | its dtype and shape | float32 `[B, n]`, same unit, flattened |
| Discrete | integers from `start` | float32 one-hot `[B, n]` |
| Dict | dict | dict of the above |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from gymnasium import Space, spaces
from torch import Tensor

from dreamgym.core.model import Obs
from dreamgym.core.spaces import is_image
from dreamgym.errors import InvalidAction, InvalidActionType, InvalidObservation, UnsupportedSpace

Array = np.ndarray | Tensor


def encode_obs(space: Space[Any], obs: Any, device: torch.device | str | None = None) -> Obs:
    """Return a batch of observations in model units.

    Args:
        space: the space of one observation.
        obs: `[B, ...]` arrays or tensors in env units, a dict of them for a Dict space.
        device: where the result lies; by default where `obs` lies.

    Raises:
        InvalidObservation: if the shape is not the space's, or a part of a Dict is missing.
    """
    if isinstance(space, spaces.Dict):
        if missing := [key for key in space if key not in obs]:
            raise InvalidObservation(f"observation lacks {missing[0]!r}; expected {', '.join(space)}.")
        parts = {key: encode_obs(part, obs[key], device) for key, part in space.items()}
        if any(isinstance(part, dict) for part in parts.values()):
            raise UnsupportedSpace("a Dict inside a Dict is not supported; flatten the observation space first.")
        return parts  # type: ignore[return-value]
    x = _tensor(obs, device)
    if tuple(x.shape[1:]) != tuple(space.shape or ()):
        expected = ", ".join(["(B", *map(str, space.shape or ("",))])
        raise InvalidObservation(f"observation has shape {tuple(x.shape)}; expected {expected.rstrip()}).")
    return _encode(space, x)


def decode_obs(space: Space[Any], obs: Obs) -> Any:
    """Return a batch of observations as tensors in env units, dtype and layout, on the device of `obs`."""
    if isinstance(space, spaces.Dict):
        assert isinstance(obs, Mapping)
        return {key: decode_obs(part, obs[key]) for key, part in space.items()}
    assert isinstance(obs, Tensor)
    if is_image(space):
        x = obs.mul(255).round_() if not obs.requires_grad else obs.mul(255).round()
        return x.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()  # [B, h, w, c]
    return _decode(space, obs)


def encode_action(space: Space[Any], action: Array) -> Tensor:
    """Return a batch of actions `[B, A]` in model units.

    Args:
        space: the space of one action.
        action: `[B, ...]` in env units.
    """
    return _encode(space, _tensor(action))


def decode_action(space: Space[Any], action: Tensor) -> Tensor:
    """Return a batch of actions in env units and dtype; a Discrete action is the largest entry of `[B, A]`."""
    return _decode(space, action)


def action_dim(space: Space[Any]) -> int:
    """Return A, the width of an action in model units."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape))
    raise UnsupportedSpace(f"action space {space} is not supported; expected a Box or a Discrete.")


def check_action(space: Space[Any], action: Any, num_envs: int | None, owner: str) -> Array:
    """Return `action` if it is a valid action, or a batch of valid actions of `num_envs` lanes.

    Values on an accelerator are not looked at, which would make the host wait for the device.

    Raises:
        InvalidActionType: if it is no array of numbers, or a scalar where a batch is expected.
        InvalidAction: if shape, dtype or range are not the space's, or a value is not finite.
    """
    shape = (() if num_envs is None else (num_envs,)) + (space.shape or ())
    given = action
    if not isinstance(action, Tensor):
        try:
            action = np.asarray(action)
        except ValueError:  # rows of different lengths
            raise InvalidActionType(f"action is {given!r}; {_expected(space, shape, owner)}") from None
        if action.dtype.kind not in "biuf":
            what = f"is {given!r}" if action.ndim == 0 and action.dtype == object else f"has dtype {action.dtype}"
            raise InvalidActionType(f"action {what}; {_expected(space, shape, owner)}")
    if num_envs is not None and action.ndim == 0:
        raise InvalidActionType(f"action is {action.item()!r}; {_expected(space, shape, owner)}")
    if tuple(action.shape) != shape:
        raise InvalidAction(f"action has shape {tuple(action.shape)}; {_expected(space, shape, owner)}")
    if isinstance(space, spaces.Discrete) and not _is_integer(action):
        raise InvalidAction(f"action has dtype {action.dtype}; {_expected(space, shape, owner)}")
    if isinstance(action, Tensor) and action.device.type != "cpu":
        return action
    if _is_inside(space, action):
        return action
    values = np.asarray(action.detach()) if isinstance(action, Tensor) else action
    finite = np.isfinite(values)
    if not finite.all():
        raise InvalidAction(f"action holds {values[~finite].flat[0]}; {_expected(space, shape, owner)}")
    low, high = _range(space)
    outside = (values < low - 1e-5) | (values > high + 1e-5)  # a float32 policy may round past the edge
    if outside.any():
        lane = None if num_envs is None else int(np.argwhere(outside)[0][0])
        row, whose = (values, "") if lane is None else (values[lane], f" of lane {lane}")
        advice = " Clip it first." if isinstance(space, spaces.Box) else ""
        raise InvalidAction(f"action{whose} is {row.tolist()}, out of range; {_expected(space, shape, owner)}{advice}")
    return action


def _expected(space: Space[Any], shape: tuple[int, ...], owner: str) -> str:
    return f"{owner} expects {f'{shape} ' if shape else ''}{describe(space)}."


def describe(space: Space[Any]) -> str:
    """Return a space in words, for an error message."""
    if isinstance(space, spaces.Box):
        names = ", ".join(f"{low:g}..{high:g}" for low, high in zip(space.low.flat, space.high.flat, strict=True))
        return f"{space.dtype} [{names}]" if space.low.size <= 8 else f"{space.dtype}"
    if isinstance(space, spaces.Discrete):
        return f"integers {int(space.start)}..{int(space.start + space.n - 1)}"
    return str(space)


def _tensor(values: Any, device: torch.device | str | None = None) -> Tensor:
    if isinstance(values, np.ndarray):
        values = np.require(values, requirements=["C", "W"])  # torch warns of read-only arrays, refuses reversed ones
    return torch.as_tensor(values, device=device)


def _encode(space: Space[Any], x: Tensor) -> Tensor:
    if isinstance(space, spaces.Discrete):
        return torch.nn.functional.one_hot(x.long() - int(space.start), int(space.n)).float()  # [B, n]
    if is_image(space):
        return x.permute(0, 3, 1, 2).to(torch.float32, copy=True).div_(255)  # [B, c, h, w]
    if isinstance(space, spaces.Box):
        return x.reshape(len(x), math.prod(space.shape)).to(torch.float32, copy=True)  # [B, n], B may be 0
    raise UnsupportedSpace(f"space {space} is not supported; expected a Box, a Discrete, or a Dict of these.")


def _decode(space: Space[Any], x: Tensor) -> Tensor:
    if isinstance(space, spaces.Discrete):
        return x.argmax(-1) + int(space.start)
    if isinstance(space, spaces.Box):
        x = x.unflatten(1, space.shape) if space.shape else x.squeeze(1)
        dtype = torch.from_numpy(np.empty(0, space.dtype)).dtype
        x = x if dtype == torch.float32 else x.double()  # float32 would round the bounds themselves
        low, high = _bounds(space.low.tobytes(), space.high.tobytes(), space.low.dtype.str, x.dtype, x.device)
        x = torch.minimum(torch.maximum(x, low.view(space.shape)), high.view(space.shape))
        return x.to(dtype) if dtype.is_floating_point else x.round().to(dtype)
    raise UnsupportedSpace(f"space {space} is not supported; expected a Box, a Discrete, or a Dict of these.")


def _is_integer(action: Array) -> bool:
    if isinstance(action, Tensor):
        return not (action.is_floating_point() or action.is_complex() or action.dtype == torch.bool)
    return np.issubdtype(action.dtype, np.integer)


def _is_inside(space: Space[Any], action: Array) -> bool:
    """Return whether two operators show that all values are in range: steps are many, and faults are few."""
    if not isinstance(space, spaces.Box) or space.dtype != np.float32:
        return False
    values = action.detach() if isinstance(action, Tensor) else _tensor(action)
    if values.dtype != torch.float32:
        return False
    low, high = _limits(space.low.tobytes(), space.high.tobytes(), space.shape)
    return torch.equal(values.clamp(low, high), values)  # NaN equals nothing


@lru_cache(maxsize=16)
def _limits(low: bytes, high: bytes, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the bounds of a float32 Box as tensors, infinite ones as the largest finite numbers."""
    lowest, highest = (np.nan_to_num(np.frombuffer(side, np.float32).reshape(shape)) for side in (low, high))
    return torch.from_numpy(lowest), torch.from_numpy(highest)


@lru_cache(maxsize=16)
def _bounds(low: bytes, high: bytes, stored: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the bounds of a Box, flat, on a device; a captured graph must not copy them there at every step."""
    with torch.inference_mode(False):  # they outlive the caller's mode
        low_, high_ = (torch.from_numpy(np.frombuffer(side, stored).copy()).to(device, dtype) for side in (low, high))
    return low_, high_


def _range(space: Space[Any]) -> tuple[Any, Any]:
    if isinstance(space, spaces.Discrete):
        return int(space.start), int(space.start + space.n - 1)
    assert isinstance(space, spaces.Box)
    return space.low, space.high
