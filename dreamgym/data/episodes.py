"""Recorded episodes, in memory and on disk.

**Time convention**, meant everywhere in dreamgym: an episode has T actions and T + 1 observations. `action[t]` leads
from `obs[t]` to `obs[t + 1]` and produces `reward[t]` and `terminated[t]`.

A dataset is a folder:

    dataset.json            format version, env id, spaces
    shard-<unique>/
        obs.npy             every field is a plain .npy file that grows by T + 1 rows an episode;
        action.npy          the last action and reward row of an episode are zero and mean nothing
        reward.npy
        index.jsonl         one line for each finished episode

A reader trusts `index.jsonl` alone and its line is written last, so that a process killed at any moment loses only the
episode that it was in. Each writer has shards of its own, so that many processes can write to one dataset.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from gymnasium import Space

from dreamgym.data.layout import field_spaces, file_name, read_description, read_index
from dreamgym.errors import InvalidDataset

ArrayObs = np.ndarray | dict[str, np.ndarray]
"""Observations in env units and dtype; one array for each key of a Dict space."""


@dataclass(frozen=True)
class Episode:
    """One recorded episode of T actions, in env units."""

    obs: ArrayObs
    """`[T + 1, ...]`, the space's dtype."""
    action: np.ndarray
    """`[T, ...]`, the space's dtype."""
    reward: np.ndarray
    """`[T]` float32."""
    terminated: bool
    """Whether the env ended the episode with its last action."""
    truncated: bool
    """Whether a limit cut it off there."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: driver, seed and the like; JSON values."""

    def __len__(self) -> int:
        """Return T, the number of actions."""
        return len(self.reward)

    @property
    def terminations(self) -> np.ndarray:
        """`[T]` bool, true where the action ended the episode."""
        flags = np.zeros(len(self), bool)
        flags[-1] = self.terminated
        return flags

    @property
    def total_reward(self) -> float:
        """The sum of rewards."""
        return float(np.sum(self.reward, dtype=np.float64))


@dataclass(frozen=True)
class _Entry:
    """Where one episode lies."""

    key: str
    arrays: Mapping[str, np.ndarray]
    offset: int
    length: int
    terminated: bool
    truncated: bool
    total_reward: float
    meta: Mapping[str, Any]
    folder: Path


class Dataset(Sequence[Episode]):
    """The finished episodes of one or several dataset folders, read on demand.

    Args:
        folders: a folder, or several of the same spaces, whose episodes follow each other.

    Raises:
        InvalidDataset: if a folder is no dataset, holds no episode, is truncated, or differs in its spaces.
    """

    env_id: str
    observation_space: Space[Any]
    action_space: Space[Any]

    def __init__(self, folders: str | Path | Sequence[str | Path]) -> None:
        paths = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
        if not paths:
            raise InvalidDataset("0 dataset folders were given; expected at least one.")
        first = read_description(paths[0])
        self.env_id = first["env_id"]
        self.observation_space, self.action_space = first["observation_space"], first["action_space"]
        self._entries: list[_Entry] = []
        for path in paths:
            description = read_description(path)
            for name in ("observation_space", "action_space"):
                if description[name] != first[name]:
                    raise InvalidDataset(
                        f"{path} has {name} {description[name]}, but {paths[0]} has {first[name]}; "
                        "only datasets of the same spaces can be read together."
                    )
            entries = [entry for shard in sorted(path.glob("shard-*")) for entry in self._read_shard(path, shard)]
            if not entries:
                raise InvalidDataset(f"{path} holds 0 finished episodes; record some with `dreamgym collect`.")
            self._entries += sorted(entries, key=lambda entry: entry.key)

    def _read_shard(self, folder: Path, shard: Path) -> Iterator[_Entry]:
        # the index is read before the arrays: a writer may be adding to them
        lines = read_index(shard / "index.jsonl")
        if not lines:
            return
        num_rows = max(line["offset"] + line["length"] + 1 for line in lines)
        arrays = {
            name: _read_array(shard / file_name(name), num_rows, dtype, shape, in_memory=not name.startswith("obs"))
            for name, (dtype, shape) in field_spaces(self.observation_space, self.action_space).items()
        }
        for line in lines:
            yield _Entry(
                key=line["key"],
                arrays=arrays,
                offset=line["offset"],
                length=line["length"],
                terminated=line["terminated"],
                truncated=line["truncated"],
                total_reward=line["return"],
                meta=line["meta"],
                folder=folder,
            )

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...

    def __getitem__(self, index: int | slice) -> Episode | Dataset:
        """Return an episode whose observations are memmap views, or the dataset of a slice."""
        if isinstance(index, slice):
            return self._select(self._entries[index])
        entry = self._entries[index]
        start, end = entry.offset, entry.offset + entry.length
        obs: ArrayObs
        if "obs" in entry.arrays:
            obs = entry.arrays["obs"][start : end + 1]
        else:
            names = [name for name in entry.arrays if name.startswith("obs.")]
            obs = {name.removeprefix("obs."): entry.arrays[name][start : end + 1] for name in names}
        return Episode(
            obs=obs,
            action=entry.arrays["action"][start:end],
            reward=entry.arrays["reward"][start:end],
            terminated=entry.terminated,
            truncated=entry.truncated,
            meta=entry.meta,
        )

    @property
    def keys(self) -> list[str]:
        """The key of every episode."""
        return [entry.key for entry in self._entries]

    @property
    def sources(self) -> list[str]:
        """Folder and key of every episode, for messages."""
        return [f"{entry.folder}: {entry.key!r}" for entry in self._entries]

    @property
    def metas(self) -> list[Mapping[str, Any]]:
        """What is known of every episode's origin."""
        return [entry.meta for entry in self._entries]

    @property
    def lengths(self) -> np.ndarray:
        """`[len(self)]` int64, T of every episode."""
        return np.array([entry.length for entry in self._entries], np.int64)

    @property
    def returns(self) -> np.ndarray:
        """`[len(self)]` float64, the sum of rewards of every episode."""
        return np.array([entry.total_reward for entry in self._entries])

    @property
    def num_steps(self) -> int:
        """How many actions all episodes have together."""
        return int(self.lengths.sum())

    def obs_offset(self, index: int) -> int:
        """Return where the observations of an episode begin in an array of all observations in order."""
        return int((self.lengths[:index] + 1).sum())

    def split(self, holdout: float = 0.05, seed: int = 0) -> tuple[Dataset, Dataset]:
        """Return the episodes to train on and those to validate on.

        Each episode's side depends on its key and on `seed` alone, so that adding episodes moves none of them. About
        `holdout` of them are held out; with few episodes this may be none.
        """
        held_out = [_unit_hash(f"{seed}:{entry.key}") < holdout for entry in self._entries]
        train = [entry for entry, out in zip(self._entries, held_out, strict=True) if not out]
        validation = [entry for entry, out in zip(self._entries, held_out, strict=True) if out]
        return self._select(train), self._select(validation)

    def validate(self) -> None:
        """Read everything once.

        Raises:
            InvalidDataset: if an observation, action or reward is not finite.
        """
        for entry in self._entries:
            rows = slice(entry.offset, entry.offset + entry.length + 1)
            for name, array in entry.arrays.items():
                if array.dtype.kind != "f" or np.isfinite(array[rows]).all():
                    continue
                step = int(np.argwhere(~np.isfinite(array[rows]))[0][0])
                raise InvalidDataset(
                    f"{entry.folder}: {name} of episode {entry.key!r} is not finite at step {step}; "
                    "record that episode again or leave its dataset out."
                )

    def _select(self, entries: list[_Entry]) -> Dataset:
        selection = copy.copy(self)
        selection._entries = entries
        return selection


def _read_array(path: Path, num_rows: int, dtype: np.dtype[Any], shape: tuple[int, ...], in_memory: bool) -> np.ndarray:
    remedy = f"copy it again, or delete {path.parent} to use the other shards."
    try:
        array: np.ndarray = np.load(path, mmap_mode=None if in_memory else "r")
    except FileNotFoundError as error:
        raise InvalidDataset(f"{path} is missing; {remedy}") from error
    except (ValueError, OSError, EOFError) as error:
        raise InvalidDataset(f"{path} is truncated or damaged ({error}); {remedy}") from error
    if array.dtype != dtype or array.shape[1:] != shape:
        raise InvalidDataset(f"{path} holds {array.dtype} rows {array.shape[1:]}; expected {dtype} {shape}.")
    if len(array) < num_rows:
        raise InvalidDataset(f"{path} is truncated: it has {len(array)} rows, its index needs {num_rows}; {remedy}")
    return array.view(np.ndarray)  # slicing an np.memmap costs microseconds more


def _unit_hash(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone, on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
