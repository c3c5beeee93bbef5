"""Name -> `module:attribute` tables. Nothing is imported until it is asked for by name.

Five calls extend dreamgym from this package or from any other: `register_model`, `register_wrapper`,
`register_planner`, `register_bridge` and `register_dream`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from dreamgym.errors import UnknownName


class Registry(Mapping[str, str]):
    """A table of lazily imported objects of one kind.

    >>> planners = Registry("planner")
    >>> planners.register("cem", "json:dumps")
    >>> planners.load("cem")([1])
    '[1]'
    >>> planners.load("cme")
    Traceback (most recent call last):
    dreamgym.errors.UnknownName: unknown planner 'cme'; available: cem. Did you mean 'cem'?
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._targets: dict[str, str] = {}

    def register(self, name: str, target: str) -> None:
        """Make `target`, a `module:attribute` string, available under `name`; a later call replaces an earlier one."""
        self._targets[name] = target

    def load(self, name: str) -> Any:
        """Return the object registered as `name`.

        Raises:
            UnknownName: if nothing is; the message lists what is and suggests the closest name.
        """
        return import_target(self[name])

    def __getitem__(self, name: str) -> str:
        if name not in self._targets:
            raise UnknownName(self.kind, name, self._targets)
        return self._targets[name]

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._targets))

    def __len__(self) -> int:
        return len(self._targets)


def import_target(target: str) -> Any:
    """Return the attribute that a `module:attribute` string names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


MODELS = Registry("world model")
WRAPPERS = Registry("wrapper")
PLANNERS = Registry("planner")
BRIDGES = Registry("bridge")

register_model = MODELS.register
register_wrapper = WRAPPERS.register
register_planner = PLANNERS.register
register_bridge = BRIDGES.register


@dataclass(frozen=True, kw_only=True)
class DreamEntry:
    """A registered dream: where its variants lie and what its real twin is."""

    id: str
    variants: Mapping[str, Path]  # variant name -> folder; the first one is the default
    real: str  # "module:function" that makes the real twin
    max_episode_steps: int  # decisions
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, variant: str | None = None) -> Path:
        """Return the folder of a variant, of the default one if `variant` is None.

        Raises:
            UnknownName: if this dream has no such variant.
        """
        if variant is None:
            variant = next(iter(self.variants))
        if variant not in self.variants:
            raise UnknownName(f"variant of {self.id}", variant, self.variants)
        return self.variants[variant]


DREAMS: dict[str, DreamEntry] = {}


def register_dream(
    id: str, *, variants: Mapping[str, str | Path], real: str, max_episode_steps: int, **kwargs: Any
) -> None:
    """Register a dream with its real twin, and its id with Gymnasium.

    Args:
        id: the Gymnasium id, e.g. `"DreamCarRacing-v0"`.
        variants: variant name -> folder that `save_dream` wrote; the first one is the default.
        real: `"module:function"`; the function makes the real twin, taking `render_mode`.
        max_episode_steps: the time limit in decisions.
        **kwargs: defaults of the env's constructor.
    """
    folders = {name: Path(folder) for name, folder in variants.items()}
    DREAMS[id] = DreamEntry(id=id, variants=folders, real=real, max_episode_steps=max_episode_steps, kwargs=kwargs)
    gym.registry.pop(id, None)  # a later call replaces an earlier one, without Gymnasium's warning
    gym.register(
        id,
        entry_point="dreamgym.envs.env:DreamEnv",
        vector_entry_point="dreamgym.envs.vector_env:DreamVectorEnv",
        max_episode_steps=max_episode_steps,
        kwargs={"model": id, **kwargs},
    )


def find_dream(id: str) -> DreamEntry:
    """Return the registered dream called `id`.

    Raises:
        UnknownName: if there is none.
    """
    if id not in DREAMS:
        raise UnknownName("dream", id, DREAMS)
    return DREAMS[id]
