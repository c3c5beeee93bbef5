"""Checkpoints of a training run: safetensors and JSON in a folder that is complete exactly when it has its name.

checkpoints/<stage>-<step>/
    weights.safetensors     the whole model
    optimizer.safetensors   the state of the stage's optimiser, flattened
    state.json              stage, step, serial number and what the run is
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

_TEMPORARY, _DISCARDED = ".writing-", ".removing-"


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint, read."""

    folder: Path
    stage: str
    step: int
    serial: int
    """Counts the checkpoints of a run in the order in which they were written."""
    record: Mapping[str, Any]
    """What the writer wanted to remember: JSON values."""
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]


def write_checkpoint(
    root: Path,
    stage: str,
    step: int,
    record: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
) -> Path:
    """Return the folder of a new checkpoint, which replaces one of the same stage and step.

    Raises:
        OSError: if it cannot be written, e.g. on a full disk; the checkpoints written before it are intact.
    """
    serial = 1 + max((_serial(folder, 0) for folder in _folders(root)), default=0)
    folder, temporary = root / f"{stage}-{step}", root / f"{_TEMPORARY}{stage}-{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(temporary / "weights.safetensors", safetensors.torch.save(_portable(weights)))
        _write(temporary / "optimizer.safetensors", safetensors.torch.save(_portable(optimizer)))
        state = {"stage": stage, "step": step, "serial": serial, "record": dict(record)}
        _write(temporary / "state.json", json.dumps(state, indent=1).encode())
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)  # gives the space back
        raise OSError(error.errno, error.strerror, str(folder)) from error
    if folder.exists():
        _remove(folder)
    temporary.rename(folder)
    _sync(root)
    return folder


def newest_checkpoint(root: Path) -> Checkpoint | None:
    """Return the checkpoint that was written last, or None; damaged ones are skipped with a warning.

    What an interrupted writer or remover left behind is removed.
    """
    for prefix in (_TEMPORARY, _DISCARDED):
        for leftover in root.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    for folder in sorted(_folders(root), key=lambda folder: -_serial(folder, sys.maxsize)):
        try:
            return _read(folder)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            warnings.warn(f"{folder} is damaged and skipped: {error}", stacklevel=2)
    return None


def prune_checkpoints(root: Path, stages: Mapping[str, int]) -> None:
    """Remove all but the newest checkpoints of each stage in `stages`, which says how many to keep."""
    by_age = sorted(_folders(root), key=lambda folder: -_serial(folder, 0))
    for stage, keep in stages.items():
        for folder in [folder for folder in by_age if folder.name.rpartition("-")[0] == stage][keep:]:
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a checkpoint: killed at any moment, it has left a whole one or none."""
    discarded = folder.with_name(_DISCARDED + folder.name)
    shutil.rmtree(discarded, ignore_errors=True)
    folder.rename(discarded)
    shutil.rmtree(discarded, ignore_errors=True)


def _folders(root: Path) -> list[Path]:
    return [folder for folder in root.glob("*-*") if folder.is_dir() and not folder.name.startswith(".")]


def _serial(folder: Path, damaged: int) -> int:
    try:
        return int(json.loads((folder / "state.json").read_text())["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return damaged


def _read(folder: Path) -> Checkpoint:
    try:
        state = json.loads((folder / "state.json").read_text())
    except ValueError as error:
        raise ValueError(f"state.json cannot be read ({error})") from error
    tensors = []
    for name in ("weights", "optimizer"):
        path = folder / f"{name}.safetensors"
        try:
            tensors.append(safetensors.torch.load_file(path))
        except SafetensorError as error:
            raise ValueError(f"{path.name} cannot be read ({error})") from error
    return Checkpoint(folder, state["stage"], state["step"], state["serial"], state["record"], *tensors)


def _portable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # copies, because safetensors refuses weights that share memory
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _write(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a rename inside of `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
