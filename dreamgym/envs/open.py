"""What both env shells do before their first step: find the dream, wrap its model, set up simulator and view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from dreamgym.core.model import WorldModel
from dreamgym.core.wrapper import WrapSpec, begin
from dreamgym.envs.simulator import Simulator
from dreamgym.errors import InvalidArgument, InvalidArgumentType, InvalidModel
from dreamgym.hub import LoadedDream, load
from dreamgym.registry import DREAMS, WRAPPERS

Model = str | Path | LoadedDream
"""A registered dream's id, a folder that `dreamgym train` wrote, or a dream in memory."""


def open_dream(model: Model, variant: str | None, wrap: WrapSpec, device: str) -> LoadedDream:
    """Return the dream with its model wrapped and its starts to suit, on a device.

    Raises:
        UnknownName: if the id, the variant or a wrapper is unknown.
        InvalidArgument: if `wrap` is no list of (name, kwargs), or a wrapper does not take these.
    """
    if isinstance(model, WorldModel):
        raise InvalidModel(
            "model is a bare WorldModel; a dream needs starts too: LoadedDream(model, make_start_bank(...))."
        )
    dream = model.to(device) if isinstance(model, LoadedDream) else load(model, variant, device)
    wrapped = dream.model
    example = "(name, kwargs), e.g. ('temperature', {'temperature': 1.15})"
    if isinstance(wrap, str):
        raise InvalidArgument(f"wrap is {wrap!r}; expected a list of {example}.")
    for item in wrap:
        if not isinstance(item, Sequence) or len(item) != 2 or not isinstance(item[1], Mapping):
            raise InvalidArgument(f"wrap holds {item!r}; expected {example}.")
        name, kwargs = item
        cls = WRAPPERS.load(name)
        try:
            wrapped = cls(wrapped, **kwargs)
        except TypeError as error:
            raise InvalidArgument(f"wrapper {name!r} does not take {dict(kwargs)}: {error}") from error
    states = begin(wrapped, dream.model, dream.starts.states)
    return replace(dream, model=wrapped, starts=replace(dream.starts, states=states))


def make_simulator(
    dream: LoadedDream, starts: str, max_episode_steps: int | None, mode: AutoresetMode | str, termination: str
) -> Simulator[Any]:
    """Return the simulator of a dream; see `Simulator` for the options and `STARTS` for `starts`."""
    return Simulator(
        dream.model,
        dream.starts.only(starts),
        max_episode_steps=max_episode_steps,
        autoreset_mode=mode,
        termination=termination,
    )


def time_limit(model: Model, dream: LoadedDream) -> int | None:
    """Return a dream's own time limit in steps: what its id was registered with, or what its card says."""
    entry = DREAMS.get(model) if isinstance(model, str) else None
    return entry.max_episode_steps if entry else dream.card.get("max_episode_steps")


def lane_seed(seed: Any) -> int:
    """Return a seed as an int64 can hold it.

    Raises:
        InvalidArgument, InvalidArgumentType: if it is negative or no integer.
    """
    if not isinstance(seed, (int, np.integer)):
        raise InvalidArgumentType(f"seed is {seed!r}; expected an integer.")
    if seed < 0:
        raise InvalidArgument(f"seed is {seed}; expected an integer that is not negative.")
    return int(seed) % 2**63
