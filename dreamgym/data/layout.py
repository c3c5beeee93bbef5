"""What a dataset folder holds: its description, its fields and their files. The layout is in `episodes.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from gymnasium import Space, spaces

from dreamgym.core.spaces import space_from_json
from dreamgym.errors import InvalidDataset, UnsupportedSpace

FORMAT_VERSION = 1


def field_spaces(
    observation_space: Space[Any], action_space: Space[Any]
) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return dtype and row shape of each recorded field."""
    if isinstance(observation_space, spaces.Dict):
        parts = {f"obs.{name}": space for name, space in observation_space.items()}
    else:
        parts = {"obs": observation_space}
    fields: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
    for name, space in {**parts, "action": action_space}.items():
        if not isinstance(space, spaces.Box | spaces.Discrete):
            raise UnsupportedSpace(f"{name} is a {space}; only Box and Discrete spaces can be recorded.")
        fields[name] = (np.dtype(space.dtype), tuple(space.shape or ()))
    return {**fields, "reward": (np.dtype(np.float32), ())}


def file_name(name: str) -> str:
    return quote(name, safe="") + ".npy"


def read_description(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    if not path.is_file():
        raise InvalidDataset(f"{folder} is no dataset: it has no dataset.json. Record one with `dreamgym collect`.")
    try:
        description = json.loads(path.read_text())
        if description["format"] != FORMAT_VERSION:
            raise InvalidDataset(
                f"{folder} has format {description['format']}; this version of dreamgym reads {FORMAT_VERSION}."
            )
        for name in ("observation_space", "action_space"):
            description[name] = space_from_json(description[name])
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidDataset):
            raise
        raise InvalidDataset(f"{path} describes no dataset ({error!r}); record it again.") from error
    return dict(description)


def read_index(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []  # its writer was killed before the first episode ended
    *lines, _ = path.read_bytes().split(b"\n")  # the rest after the last newline is a line that was never finished
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise InvalidDataset(f"{path} is damaged ({error}); delete its folder to use the other shards.") from error
