"""The file from which an interrupted training goes on: tensors and JSON, no pickle."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dreamgym.errors import InvalidArgument

KEEP_SECONDS = 60.0
"""Between two writings of the file."""


@dataclass(frozen=True)
class Found:
    """What an interrupted training left."""

    step: int
    """Decisions, updates or generations that were done."""
    rows: list[dict[str, Any]]
    """Of its learning curve."""
    tensors: dict[str, Tensor]
    """What it had learned, on the CPU."""


class Kept:
    """A file that a training writes every minute; interrupted, the same training goes on from it.

    Who has saved what was learned calls `remove`.

    Args:
        path: the file, by custom `*.unfinished`; its folder need not exist yet.
        **identity: what else must be the same, beside the settings that the training knows of, e.g. the wrappers of its
            dream; JSON values.
    """

    def __init__(self, path: str | Path, **identity: Any) -> None:
        self.path, self.identity = Path(path), identity
        self._temporary = self.path.with_name(f".{self.path.name}.tmp")
        self.notes: list[Any] = []
        """JSON values of who follows the training, kept with it."""
        self._written = self._begin = time.monotonic()

    @property
    def seconds(self) -> float:
        """What the training has taken, up to its interruptions and since this object was made."""
        return time.monotonic() - self._begin

    def read(self, **identity: Any) -> Found | None:
        """Return what was left, if anything was, and fill `notes`.

        Args:
            **identity: the settings of the training, JSON values.

        Raises:
            InvalidArgument: if another training left it, or it is damaged.
        """
        self.identity = json.loads(json.dumps({**self.identity, **identity}))
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                kept = json.loads(file.metadata()["kept"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, TypeError, KeyError) as error:
            raise InvalidArgument(f"{self.path} cannot be read ({error}); delete the file to begin anew.") from error
        before = kept["identity"]
        other = [f"{name} {before.get(name)!r}" for name, value in self.identity.items() if before.get(name) != value]
        if other:
            raise InvalidArgument(
                f"{self.path} was left by a training with {', '.join(other)}; give these to go on with it, or delete "
                "the file to begin anew."
            )
        self.notes[:] = kept["notes"]
        self._begin -= kept["seconds"]
        return Found(kept["step"], kept["rows"], tensors)

    def offer(self, step: int, rows: Sequence[Any], tensors: Callable[[], Mapping[str, Tensor]]) -> None:
        """Write how far a training has come, if it is time.

        Args:
            step: decisions, updates or generations that are done.
            rows: of its learning curve, dataclasses.
            tensors: returns what it has learned.
        """
        if time.monotonic() - self._written < KEEP_SECONDS:
            return
        kept = {"identity": self.identity, "step": step, "rows": [asdict(row) for row in rows], "notes": self.notes,
                "seconds": self.seconds}  # fmt: skip
        whole = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors().items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_file(whole, self._temporary, {"kept": json.dumps(kept)})
        self._temporary.replace(self.path)
        self._written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, and what a kill has left of one that was being written."""
        for path in (self.path, self._temporary):
            path.unlink(missing_ok=True)
