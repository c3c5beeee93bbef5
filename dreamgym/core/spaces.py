"""Gymnasium spaces as plain JSON, so that datasets, dreams and policies can say what they are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from dreamgym.errors import ForeignDream, UnsupportedSpace


def is_image(space: Space[Any]) -> bool:
    """Return whether a space holds pictures: uint8 `[h, w, channels]`."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def space_to_json(space: Space[Any]) -> dict[str, Any]:
    """Return a JSON value that `space_from_json` turns back into an equal space.

    Raises:
        UnsupportedSpace: if the space is not a Box, a Discrete, or a Dict of these.

    >>> space_to_json(spaces.Discrete(3))
    {'type': 'Discrete', 'n': 3, 'start': 0}
    """
    if isinstance(space, spaces.Box):
        shape = [int(n) for n in space.shape]
        return {"type": "Box", "shape": shape, "dtype": str(space.dtype), **_bounds(space)}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: space_to_json(part) for key, part in space.items()}}
    raise UnsupportedSpace(f"space {space} is not supported; expected a Box, a Discrete, or a Dict of these.")


def space_from_json(value: Mapping[str, Any]) -> Space[Any]:
    """Return the space that `space_to_json` described.

    Raises:
        ForeignDream: if the value describes no space that dreamgym knows.
    """
    kind = value.get("type")
    if kind == "Box":
        dtype = np.dtype(value["dtype"])
        low, high = (_from_bound(value[side], dtype) for side in ("low", "high"))
        return spaces.Box(low, high, tuple(value["shape"]) if np.isscalar(low) else None, dtype=dtype.type)
    if kind == "Discrete":
        return spaces.Discrete(int(value["n"]), start=int(value["start"]))
    if kind == "Dict":
        return spaces.Dict({key: space_from_json(part) for key, part in value["spaces"].items()})
    raise ForeignDream(f"a space of type {kind!r} is described; expected 'Box', 'Discrete' or 'Dict'.")


def _bounds(space: spaces.Box) -> dict[str, Any]:
    low, high = space.low, space.high
    uniform = low.size > 0 and (low == low.flat[0]).all() and (high == high.flat[0]).all()
    return (
        {"low": low.flat[0].item(), "high": high.flat[0].item()}
        if uniform
        else {"low": low.tolist(), "high": high.tolist()}
    )


def _from_bound(value: Any, dtype: np.dtype[Any]) -> Any:
    return np.asarray(value, dtype) if isinstance(value, list) else dtype.type(value).item()
