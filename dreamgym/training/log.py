"""What a training run tells: a CSV file for each stage, TensorBoard where it is installed, and a progress bar."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm


class StageLog:
    """Writes one row for each logged step of a stage; use it as a context manager.

    Args:
        out: the run's folder.
        stage: the stage's name.
        start: rows after this step, which a run that was killed may have left, are removed.
        steps: how many steps the stage has, for the progress bar.
        progress: whether to show the bar, on a terminal.
        tensorboard: whether to write for TensorBoard too, if it is installed.
    """

    def __init__(self, out: Path, stage: str, start: int, steps: int, progress: bool, tensorboard: bool) -> None:
        self._path = out / "logs" / f"{stage}.csv"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        _truncate(self._path, start)
        self._stage = stage
        self._board = _summary_writer(out / "logs" / "tensorboard", start) if tensorboard else None
        self._bar = tqdm(
            total=steps, initial=start, desc=stage, unit="step", dynamic_ncols=True, disable=None if progress else True
        )

    def advance(self) -> None:
        """Count one step."""
        self._bar.update()

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write a row; None leaves its cell empty. Every row must have the same names."""
        try:
            with open(self._path, "a", newline="") as file:
                writer = csv.writer(file)
                if file.tell() == 0:
                    writer.writerow(["step", *values])
                writer.writerow([step, *("" if value is None else repr(value) for value in values.values())])
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        known = {name: value for name, value in values.items() if value is not None}
        for name, value in known.items():
            if self._board is not None:
                self._board.add_scalar(f"{self._stage}/{name}", value, step)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in known.items() if "validation" not in name})

    def __enter__(self) -> StageLog:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.close()
        if self._board is not None:
            self._board.close()


class SilentLog:
    """The log of a process that writes nothing."""

    def advance(self) -> None:
        """Do nothing."""

    def write(self, step: int, values: Mapping[str, float | None]) -> None:
        """Do nothing."""

    def __enter__(self) -> SilentLog:
        return self

    def __exit__(self, *exc: object) -> None:
        pass


def read_log(path: str | Path) -> dict[str, list[float | None]]:
    """Return the columns of a stage's CSV file by name; empty cells are None."""
    with open(path, newline="") as file:
        header, *rows = list(csv.reader(file))
    return {name: [float(row[i]) if row[i] else None for row in rows] for i, name in enumerate(header)}


def _truncate(path: Path, step: int) -> None:
    """Remove the rows after `step`, and one that was never finished."""
    if not path.exists():
        return
    header, *rows = path.read_bytes().splitlines(keepends=True) or [b""]
    kept = [row for row in rows if row.endswith(b"\n") and int(row.partition(b",")[0]) <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(header + b"".join(kept) if kept else b"")
    os.replace(temporary, path)


def _summary_writer(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=start + 1)  # type: ignore[no-untyped-call]
