"""Which keys mean which action: the form that `gymnasium.utils.play` reads, and a usual choice for plain spaces.

A key is pygame's code of it, a combination the ascending tuple of the keys held together.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from gymnasium import Space, spaces

from dreamgym.errors import InvalidArgument

RIGHT, LEFT, DOWN, UP = range(1073741903, 1073741907)
_OLD_ARROWS = {273: UP, 274: DOWN, 275: RIGHT, 276: LEFT}  # of pygame 1; Gymnasium's MountainCar still has them

Combination = tuple[int, ...]


def default_keys(space: Space[Any]) -> dict[Combination, Any]:
    """Return the usual keys of a plain action space, with `()` for what is done while no key is held, if that is known.

    | space | keys |
    | --- | --- |
    | Discrete, 2 actions | left and right arrow |
    | Discrete, up to 9 actions | 1, 2, 3, ... |
    | bounded Box, 1 number | left arrow: lowest; right arrow: highest; both or none: 0 |
    | bounded Box, 2 numbers | the same, and down and up for the second number |

    Raises:
        InvalidArgument: if the space is another.
    """
    if isinstance(space, spaces.Discrete) and space.n <= 9:
        keys = [LEFT, RIGHT] if space.n == 2 else [ord("1") + i for i in range(int(space.n))]
        return {(key,): int(space.start) + i for i, key in enumerate(keys)}
    if isinstance(space, spaces.Box) and space.shape in [(1,), (2,)] and space.is_bounded():
        axes = ((LEFT, RIGHT), (DOWN, UP))[: space.shape[0]]
        idle = np.clip(np.zeros(space.shape, space.dtype), space.low, space.high)
        numbers = [
            {(): zero, (least,): low, (most,): high, (least, most): zero}
            for (least, most), zero, low, high in zip(axes, idle, space.low, space.high, strict=True)
        ]
        return {
            tuple(sorted(key for keys, _ in pairs for key in keys)): np.array([x for _, x in pairs], space.dtype)
            for pairs in product(*(number.items() for number in numbers))
        }
    raise InvalidArgument(
        f"no keys are usual for {space}; expected Discrete up to 9, or a bounded Box of 1 or 2 numbers."
    )


def combination(keys: Any) -> Combination:
    """Return a combination in whichever form `gymnasium.utils.play` takes it: a code, letters, or a tuple of these.

    >>> combination("da"), combination(("a", 32)), combination(275) == (RIGHT,)
    ((97, 100), (32, 97), True)

    Raises:
        InvalidArgument: if it is nothing of the kind.
    """
    parts = keys if isinstance(keys, tuple | str) else (keys,)
    codes = []
    for key in parts:
        if isinstance(key, str) and len(key) == 1:
            codes.append(ord(key))
        elif isinstance(key, int | np.integer) and not isinstance(key, bool):
            codes.append(_OLD_ARROWS.get(int(key), int(key)))
        else:
            raise InvalidArgument(f"the key map has the key {key!r}; expected pygame's code of a key, or its letter.")
    return tuple(sorted(set(codes)))


def combinations(keys: Mapping[Any, Any]) -> dict[Combination, Any]:
    """Return a key map with its combinations in one form.

    Raises:
        InvalidArgument: if it is no mapping, or one of its keys is none.
    """
    if not isinstance(keys, Mapping):
        raise InvalidArgument(f"the key map is a {type(keys).__name__}; expected a dict from keys to actions.")
    return {combination(held): action for held, action in keys.items()}
