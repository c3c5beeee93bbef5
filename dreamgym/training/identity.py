"""What makes a run the same run: only then is it resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from dreamgym.core.tree import named_leaves
from dreamgym.errors import TrainingFailed


def check_identity(out: Path, before: Mapping[str, Any], now: Mapping[str, Any], cure: str) -> None:
    """Return if two runs are the same.

    Args:
        out: the folder of both.
        before: settings as they were recorded, JSON values.
        now: those that are given.
        cure: what can be done if they differ.

    Raises:
        TrainingFailed: if a setting differs; the message names it.
    """
    old, new = named_leaves(before), named_leaves(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if names:
        changed = "; ".join(f"{name} was {old.get(name)!r}, is {new.get(name)!r}" for name in names)
        raise TrainingFailed(f"{out} holds a run that cannot be resumed with other settings: {changed}. {cure}")


def complete(recorded: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Return the recorded fields of a config with those that it has got since: their defaults mean what was before."""
    known = {f.name: f.default for f in fields(config) if f.default is not MISSING} if is_dataclass(config) else {}
    return {**json.loads(json.dumps(known)), **recorded}
