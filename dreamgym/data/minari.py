"""Minari in and out: the format in which recorded experience is shared."""

from __future__ import annotations

import shutil
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dreamgym.data.episodes import Dataset, Episode
from dreamgym.data.layout import field_spaces
from dreamgym.data.writer import DatasetWriter
from dreamgym.errors import InvalidDataset, MissingExtra, UnsupportedSpace

PREFIX = "minari:"
"""What precedes the id of a Minari dataset where the folder of a dataset could be named."""


def to_minari(dataset: Dataset, dataset_id: str, **metadata: Any) -> None:
    """Write a dataset as the local Minari dataset `dataset_id`, without loss.

    Args:
        dataset: what to write.
        dataset_id: `"name/of-it-v0"`, as Minari names them.
        **metadata: what else `minari.create_dataset_from_buffers` takes, e.g. `author` or `description`.

    Raises:
        MissingExtra: if Minari is not installed.
        InvalidDataset: if there is a Minari dataset of this id already.
    """
    minari = _minari()
    from minari.data_collector import EpisodeBuffer

    if dataset_id in minari.list_local_datasets():
        raise InvalidDataset(f"Minari has a dataset {dataset_id!r} already; choose another id or version.")
    buffers = [
        EpisodeBuffer(
            id=index,
            seed=episode.meta.get("seed"),
            options={"dreamgym": dict(episode.meta)} if episode.meta else None,
            observations=episode.obs,
            actions=episode.action,
            rewards=episode.reward,
            terminations=episode.terminations,
            truncations=np.append(np.zeros(len(episode) - 1, bool), episode.truncated),
        )
        for index, episode in enumerate(dataset)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it recommends metadata that a private dataset need not have
        minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            observation_space=dataset.observation_space,
            action_space=dataset.action_space,
            jpeg_encoding=False,  # its default alters every picture
            **metadata,
        )


def from_minari(dataset_id: str, out: str | Path) -> Dataset:
    """Return the local Minari dataset `dataset_id`, copied into the dataset folder `out`.

    An episode that neither terminates nor truncates counts as truncated at its end.

    Raises:
        MissingExtra: if Minari is not installed.
        InvalidDataset: if Minari has no such dataset, it has no episodes or no rewards, or `out` holds something else.
        UnsupportedSpace: if its spaces are not Box or Discrete.
    """
    source = _load(dataset_id)
    try:
        field_spaces(source.observation_space, source.action_space)
    except UnsupportedSpace as error:
        raise UnsupportedSpace(f"the Minari dataset {dataset_id!r} cannot be read: {error}") from error
    env_id = source.spec.env_spec.id if source.spec.env_spec is not None else dataset_id
    metadatas = source.storage.get_episode_metadata(source.episode_indices)
    with DatasetWriter(out, env_id, source.observation_space, source.action_space) as writer:
        for episode, metadata in zip(_rewarded(source), metadatas, strict=True):
            terminated = bool(episode.terminations[-1])
            meta = {
                "driver": dataset_id,
                **({"seed": metadata["seed"]} if metadata.get("seed") is not None else {}),
                **(metadata.get("options") or {}).get("dreamgym", {}),
            }
            writer.add(
                Episode(
                    obs=episode.observations,
                    action=episode.actions,
                    reward=np.asarray(episode.rewards, np.float32),
                    terminated=terminated,
                    truncated=bool(episode.truncations[-1]) or not terminated,
                    meta=meta,
                ),
                key=f"{dataset_id}-{episode.id:08d}",
            )
    return Dataset(out)


def find_data(name: str, copies: str | Path) -> Path:
    """Return the dataset folder that is named: a folder, or `"minari:ID"` for a local Minari dataset.

    Training draws windows at random, for which Minari's files are slow; so the dataset is copied into a folder of its
    own below `copies`, once.

    Raises:
        MissingExtra, InvalidDataset, UnsupportedSpace: as `from_minari`.
    """
    if not name.startswith(PREFIX):
        return Path(name)
    dataset_id = name.removeprefix(PREFIX)
    source, out = _load(dataset_id), Path(copies) / dataset_id
    if out.is_dir():
        copy = Dataset(out)
        if (len(copy), copy.num_steps) == (source.total_episodes, source.total_steps):
            return out
        shutil.rmtree(out)  # another dataset had this id
    unfinished = Path(copies) / f".{uuid.uuid4().hex}"
    try:
        from_minari(dataset_id, unfinished)
        out.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(out)
    except OSError:
        if not out.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return out


def _load(dataset_id: str) -> Any:
    minari = _minari()
    if dataset_id not in minari.list_local_datasets():
        raise InvalidDataset(
            f"Minari has no local dataset {dataset_id!r}; download it with `minari download {dataset_id}`."
        )
    source = minari.load_dataset(dataset_id)
    if source.total_episodes == 0:
        raise InvalidDataset(f"the Minari dataset {dataset_id!r} holds 0 episodes; take another one.")
    return source


def _rewarded(source: Any) -> Iterator[Any]:
    """Yield the episodes of a Minari dataset, each of which must have rewards."""
    message = (
        f"the Minari dataset {source.spec.dataset_id!r} has no rewards in episode {{}}; a dream needs the reward of "
        "each action. Write the dataset again with rewards, or take another one."
    )
    episodes = source.iterate_episodes()
    for index in range(source.total_episodes):
        try:
            episode = next(episodes)
        except KeyError as error:
            if "rewards" not in str(error):
                raise
            raise InvalidDataset(message.format(index)) from error
        if len(episode.rewards) == 0 or np.isnan(np.asarray(episode.rewards, np.float64)).all():
            raise InvalidDataset(message.format(index))
        yield episode


def _minari() -> Any:
    try:
        import minari
        import minari.data_collector
    except ImportError as error:
        raise MissingExtra("reading and writing Minari datasets", "minari", "minari") from error
    return minari
