"""What makes a run the same run: only then is it resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from dreamgym.core.model import StageConfig
from dreamgym.core.tree import named_leaves
from dreamgym.data.episodes import Dataset
from dreamgym.errors import TrainingFailed


def identity_of(model: Any, dataset: Dataset, stages: Mapping[str, StageConfig], **config: Any) -> dict[str, Any]:
    """Return what must be the same for a run to be resumed, as JSON values.

    Args:
        model: a `torch.nn.Module`, with a dataclass `config` if it has one.
        dataset: what it is trained on.
        stages: how.
        **config: what else must be the same.
    """
    shapes = [(name, list(value.shape)) for name, value in model.state_dict().items()]
    model_config = getattr(model, "config", None)
    identity = {
        "model": {
            "class": type(model).__name__,
            "config": asdict(model_config) if is_dataclass(model_config) else None,  # type: ignore[arg-type]
            "weights": _digest(shapes),
        },
        "dataset": {
            "env_id": dataset.env_id,
            "episodes": len(dataset),
            "actions": dataset.num_steps,
            "content": _digest([dataset.keys, dataset.lengths.tolist(), dataset.returns.tolist()]),
        },
        "stages": {name: asdict(stage_config) for name, stage_config in stages.items()},
        "config": config,
    }
    return dict(json.loads(json.dumps(identity)))


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


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:12]
