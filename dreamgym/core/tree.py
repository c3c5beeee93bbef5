"""States are nested frozen dataclasses (or dicts) whose leaves have the lane axis first; these functions walk them.

None is a tree without leaves.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def tree_map(fn: Callable[..., Any], tree: T, *others: T) -> T:
    """Return a tree of the same shape whose leaves are `fn(leaf, *leaves of the others)`."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        parts = {n: tree_map(fn, getattr(tree, n), *(getattr(o, n) for o in others)) for n in _field_names(tree)}
        return type(tree)(**parts)  # type: ignore[return-value]
    if isinstance(tree, Mapping):
        return {key: tree_map(fn, tree[key], *(o[key] for o in others)) for key in tree}  # type: ignore[index, return-value]
    return None if tree is None else fn(tree, *others)  # type: ignore[return-value]


def named_leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves by dotted name, in the order of the fields."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        items = [(name, getattr(tree, name)) for name in _field_names(tree)]
    elif isinstance(tree, Mapping):
        items = list(tree.items())
    else:
        return {} if tree is None else {prefix: tree}
    return {k: leaf for name, part in items for k, leaf in named_leaves(part, f"{prefix}.{name}".strip(".")).items()}


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the leaves in the order of `named_leaves`, which is slower."""
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for name in _field_names(tree):
            yield from leaves(getattr(tree, name))
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from leaves(part)
    elif tree is not None:
        yield tree


def _field_names(tree: Any) -> Sequence[str]:
    """Return the names of a dataclass's fields, remembered unless the compiler looks on: it follows no caches."""
    if torch.compiler.is_compiling():
        return [field.name for field in dataclasses.fields(tree)]
    return _remembered_names(cast(Any, type(tree)))  # mypy holds that a type has no hash


@lru_cache(maxsize=64)
def _remembered_names(cls: Any) -> Sequence[str]:
    return tuple(field.name for field in dataclasses.fields(cls))


def from_named_leaves(template: T, leaves: Mapping[str, Any]) -> T:
    """Return a tree shaped like `template` with the leaves that `named_leaves` gave; a missing one is a KeyError."""
    names = iter(named_leaves(template))
    return tree_map(lambda _: leaves[next(names)], template)


def branch(leaves: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return those of `named_leaves` that lie in the branch with this name, by the names that they have in it."""
    return {key.removeprefix(f"{name}."): leaf for key, leaf in leaves.items() if key.startswith(f"{name}.")}


def where(mask: Tensor, tree: T, other: T) -> T:
    """Return the lanes of `tree` where `mask [B]` holds, those of `other` elsewhere."""

    def pick(a: Any, b: Any) -> Any:
        if isinstance(a, Tensor):
            return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)
        rows = mask.cpu().numpy()
        return np.where(rows.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return tree_map(pick, tree, other)


def gather(tree: T, index: Tensor) -> T:
    """Return the lanes that `index [B]` names, as a copy; lanes may repeat."""
    return tree_map(lambda x: x[index] if isinstance(x, Tensor) else x[index.cpu().numpy()], tree)


def concatenate(trees: list[T]) -> T:
    """Return one tree whose lanes are those of all `trees` in order."""
    join = lambda *xs: torch.cat(xs) if isinstance(xs[0], Tensor) else np.concatenate(xs)  # noqa: E731
    return tree_map(join, trees[0], *trees[1:])


def clone(tree: T) -> T:
    """Return a copy that shares no memory with `tree`."""
    return tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x.copy(), tree)


def to_device(tree: T, device: torch.device | str) -> T:
    """Return the tree with its tensors on `device`."""
    return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, tree)


def compact(leaf: Any) -> Any:
    """Return float32 numbers in the smallest type that serves; anything else as it is.

    All become float16, half the size, unless one is too large for it; one-hots and others that 8 bits then hold exactly
    take those. `widen` returns float32.
    """
    if not (isinstance(leaf, Tensor) and leaf.dtype == torch.float32):
        return leaf
    half = leaf.half()
    if not half.isfinite().all():
        return leaf
    eight = half.to(torch.float8_e4m3fn)  # of the rounded numbers, so that what was stored is stored alike again
    return eight if torch.equal(eight.half(), half) else half


def widen(leaf: Any) -> Any:
    """Return numbers that `compact` made small as float32; anything else as it is."""
    small = isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.element_size() < 4
    return leaf.float() if small else leaf


def num_lanes(tree: Any) -> int:
    """Return B, the number of lanes of a state."""
    return len(next(leaves(tree)))


def device_of(tree: Any) -> torch.device | None:
    """Return where a state's first leaf lies; None, torch's default device, if that is no tensor."""
    leaf = next(leaves(tree))
    return leaf.device if isinstance(leaf, Tensor) else None


def finite_lanes(tree: Any) -> Tensor:
    """Return `[B]` bool: every number of the lane is finite."""
    total = None
    for leaf in leaves(tree):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            # the sum is finite exactly when all entries are (states are far from overflow), at one pass over memory
            lane = leaf.flatten(1).sum(1) if leaf.ndim > 1 else leaf
            total = lane if total is None else total + lane
    if total is None:
        return torch.ones(num_lanes(tree), dtype=torch.bool, device=device_of(tree))
    return total.abs() < math.inf  # half the operators of isfinite()


def known_finite(tree: Any) -> bool:
    """Return whether it is known that every number is finite; on an accelerator the host does not wait to know."""
    sums = []
    for leaf in leaves(tree):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            if not leaf.is_cpu:
                return False
            sums.append(leaf.sum().item())
    return math.isfinite(sum(sums))
