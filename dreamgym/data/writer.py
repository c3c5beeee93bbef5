"""Appends finished episodes to a dataset folder."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from gymnasium import Space, spaces

from dreamgym.core.spaces import space_to_json
from dreamgym.data.episodes import Episode
from dreamgym.data.layout import FORMAT_VERSION, field_spaces, file_name, read_description
from dreamgym.errors import InvalidDataset

if TYPE_CHECKING:
    from typing_extensions import Self


class DatasetWriter:
    """Appends finished episodes to a dataset folder; use it as a context manager.

    Args:
        folder: created if absent; an existing dataset of the same spaces is extended.
        env_id: what was recorded, e.g. a Gymnasium id.
        observation_space, action_space: Box or Discrete; the observation may be a flat Dict of these.
        shard_bytes: a new shard is begun when the observations of one reach this size.

    Raises:
        InvalidDataset: if `folder` holds something else, or episodes of other spaces.
    """

    def __init__(
        self,
        folder: str | Path,
        env_id: str,
        observation_space: Space[Any],
        action_space: Space[Any],
        shard_bytes: int = 64 << 20,
    ) -> None:
        self.folder = Path(folder)
        self.shard_bytes = shard_bytes
        self._fields = field_spaces(observation_space, action_space)
        self._obs_is_dict = isinstance(observation_space, spaces.Dict)
        self._shard: _ShardWriter | None = None
        self._describe(env_id, observation_space, action_space)

    def _describe(self, env_id: str, observation_space: Space[Any], action_space: Space[Any]) -> None:
        path = self.folder / "dataset.json"
        if path.exists():
            description = read_description(self.folder)
            for name, space in (("observation_space", observation_space), ("action_space", action_space)):
                if description[name] != space:
                    raise InvalidDataset(
                        f"{name} is {space}, but {self.folder} holds episodes of {description[name]}; "
                        "record into another folder."
                    )
            return
        if self.folder.exists() and any(not child.name.startswith(".") for child in self.folder.iterdir()):
            raise InvalidDataset(
                f"{self.folder} is not empty and no dataset (it has no dataset.json); record into a new folder."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        description = {
            "format": FORMAT_VERSION,
            "env_id": env_id,
            "observation_space": space_to_json(observation_space),
            "action_space": space_to_json(action_space),
        }
        temporary = self.folder / f".dataset-{uuid.uuid4().hex}.json"
        try:
            temporary.write_text(json.dumps(description, indent=1))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def add(self, episode: Episode, key: str | None = None) -> str:
        """Record an episode and return its key.

        Args:
            episode: it must fit the spaces of the dataset.
            key: a name that is unique in the dataset; episodes are read back in the order of their keys, and
                `Dataset.split` depends on it alone. By default a new one.

        Raises:
            InvalidDataset: if the episode does not fit.
            OSError: if it cannot be written, e.g. on a full disk; what was recorded before stays readable.
        """
        rows = self._rows(episode)
        obs_bytes = sum(array.nbytes for name, array in rows.items() if name.startswith("obs"))
        shard = self._shard
        if shard is None or (shard.obs_bytes and shard.obs_bytes + obs_bytes > self.shard_bytes):
            self.close()
            shard = self._shard = _ShardWriter(self.folder / f"shard-{uuid.uuid4().hex[:12]}", self._fields)
        key = key or f"{shard.folder.name}-{shard.num_episodes:06d}"
        line = {
            "key": key,
            "offset": shard.num_rows,
            "length": len(episode),
            "terminated": bool(episode.terminated),
            "truncated": bool(episode.truncated),
            "return": episode.total_reward,
            "meta": dict(episode.meta),
        }
        try:
            shard.append(rows, line)
        except OSError as error:
            raise OSError(
                error.errno,
                f"episode {key!r} cannot be written ({error.strerror}); the episodes recorded before it are intact. "
                "Free some space and run the same command again",
                str(shard.folder),
            ) from error
        shard.obs_bytes += obs_bytes
        return key

    def _rows(self, episode: Episode) -> dict[str, np.ndarray]:
        """Return the `[T + 1, ...]` rows of every field."""
        length = len(episode)
        if length == 0:
            raise InvalidDataset("an episode has 0 actions; record only episodes of at least one step.")
        if isinstance(episode.obs, dict) != self._obs_is_dict:
            raise InvalidDataset(f"the observations are a {type(episode.obs).__name__}, unlike the observation space.")
        arrays = {"action": episode.action, "reward": episode.reward}
        if isinstance(episode.obs, dict):
            arrays |= {f"obs.{name}": array for name, array in episode.obs.items()}
        else:
            arrays["obs"] = episode.obs
        rows = {}
        for name, (dtype, shape) in self._fields.items():
            expected = (length + name.startswith("obs"), *shape)
            array = np.asarray(arrays[name]) if name in arrays else np.empty(0)
            if array.shape != expected:
                raise InvalidDataset(
                    f"{name} has shape {array.shape}; an episode with {length} rewards needs {expected} "
                    "(T actions and rewards, T + 1 observations)."
                )
            if not np.can_cast(array.dtype, dtype, "same_kind"):
                raise InvalidDataset(f"{name} has dtype {array.dtype}; the space expects {dtype}.")
            rows[name] = np.zeros((length + 1, *shape), dtype)
            rows[name][: len(array)] = array
        return rows

    def close(self) -> None:
        """Finish the current shard; `add` would begin a new one."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _ShardWriter:
    """Appends rows to the `.npy` files of one shard, then the line that makes them count."""

    def __init__(self, folder: Path, fields: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> None:
        self.folder = folder
        self.num_rows = self.num_episodes = self.obs_bytes = 0
        self._dtypes = fields
        folder.mkdir()
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            # unbuffered, and never through a memmap: on a full disk a write fails where a memmap kills the process
            self._files: dict[str, BinaryIO] = {
                name: undo.enter_context(open(folder / file_name(name), "xb", buffering=0)) for name in fields
            }
            self._index: BinaryIO = undo.enter_context(open(folder / "index.jsonl", "xb", buffering=0))
            self._header_bytes = {name: self._write_header(name, 0) for name in fields}
            undo.pop_all()

    def append(self, rows: Mapping[str, np.ndarray], line: Mapping[str, Any]) -> None:
        index_end = self._index.tell()
        num_rows = self.num_rows + len(rows["reward"])
        try:
            for name, file in self._files.items():
                file.seek(0, 2)
                _write_all(file, rows[name].reshape(-1).view(np.uint8).data)
            for name in self._files:
                self._write_header(name, num_rows)
            _write_all(self._index, memoryview(json.dumps(line, default=_to_builtin).encode() + b"\n"))
        except BaseException:
            for name, file in self._files.items():
                self._write_header(name, self.num_rows)
                dtype, shape = self._dtypes[name]
                file.truncate(self._header_bytes[name] + self.num_rows * dtype.itemsize * int(np.prod(shape)))
            self._index.truncate(index_end)
            self._index.seek(index_end)
            raise
        self.num_rows = num_rows
        self.num_episodes += 1

    def _write_header(self, name: str, num_rows: int) -> int:
        """Write a header in place and return its size; NumPy pads it so that the first axis can grow."""
        dtype, shape = self._dtypes[name]
        header = {"descr": dtype.str, "fortran_order": False, "shape": (num_rows, *shape)}
        text = io.BytesIO()
        np.lib.format.write_array_header_1_0(text, header)  # type: ignore[no-untyped-call]
        file = self._files[name]
        file.seek(0)
        _write_all(file, text.getbuffer())  # NumPy does not notice if only a part is written
        return file.tell()

    def close(self) -> None:
        for file in (*self._files.values(), self._index):
            file.close()


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _to_builtin(value: Any) -> Any:
    return value.tolist()  # NumPy scalars and arrays
