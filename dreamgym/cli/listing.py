"""What is registered, read without importing torch: `dreamgym list`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dreamgym  # noqa: F401  registers the names
from dreamgym.registry import BRIDGES, DREAMS, MODELS, PLANNERS, WRAPPERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def listing() -> dict[str, Any]:
    """Return the registered dreams, one row a variant, and the names of everything else by kind."""
    dreams = [
        {"id": entry.id, "variant": name, "real": entry.real, "folder": str(folder), **_describe(folder)}
        for entry in DREAMS.values()
        for name, folder in entry.variants.items()
    ]
    return {
        "dreams": dreams,
        "models": list(MODELS),
        "wrappers": list(WRAPPERS),
        "planners": list(PLANNERS),
        "bridges": list(BRIDGES),
    }


def print_listing(found: dict[str, Any]) -> None:
    """Print what `listing` found for people."""
    from dreamgym.cli.output import print_table

    header = ["dream", "variant", "family", "MB", "real twin", "real score of its policy"]
    rows = [
        [
            row["id"],
            row["variant"],
            row["family"],
            f"{row['bytes'] / 1e6:.1f}" if row["present"] else "",
            row["real"],
            _score(row),
        ]
        for row in found["dreams"]
    ]
    print_table(header, rows) if rows else print("no dreams are registered")
    for kind in ("models", "wrappers", "planners", "bridges"):
        print(f"{kind}: {', '.join(found[kind]) or 'none'}")


def _describe(folder: Path) -> dict[str, Any]:
    """Return what the files of a dream say about it; one that is not there has no size."""
    if not (folder / "card.toml").is_file():
        return {"present": False, "family": "missing", "bytes": 0, "scores": {}}
    card = tomllib.loads((folder / "card.toml").read_text())
    family = json.loads((folder / "config.json").read_text())["family"]
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    return {"present": True, "family": family, "bytes": size, "scores": card.get("scores", {})}


def _score(row: dict[str, Any]) -> str:
    score = row["scores"].get("real")
    return f"{score['mean']:.1f} +- {score['std']:.1f} ({score['episodes']} episodes)" if score else "-"
